-- Acts as this role until the transaction ends.
SELECT set_config('role', %(role)s, true)
