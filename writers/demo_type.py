"""The type of the locking demo's tasks, on which its client and the service agree (sql/schema/018_service.sql)."""

DEMO_TYPE = "demo.grab"
