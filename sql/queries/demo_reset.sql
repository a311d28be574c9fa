SELECT removed, held FROM tasks.demo_reset()
