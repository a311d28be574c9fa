-- The role that this session acts as, and the database.
SELECT current_user::text, current_database()::text
