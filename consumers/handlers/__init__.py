"""Users' handlers: declared, and run in threads or on the loop.

running        one handler after another, in threads and on the loop
transactions   the transaction that completes a handler's task
outcomes       how a handler ends; the worker and the claims use it too
declaring      what an application declares and sees; `consumers` has its names
"""
