SELECT tasks.demo_complete(%(id)s, %(version)s)
