SELECT tasks.demo_create(%(count)s)
