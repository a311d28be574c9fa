"""The processes of a comparison beside its arms: writers that follow a schedule, and a consumer."""
