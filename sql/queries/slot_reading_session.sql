-- Sets the form of values in this session to that of the relay's stream.
SELECT set_config('bytea_output', 'hex', false), set_config('DateStyle', 'ISO', false),
       set_config('TimeZone', 'UTC', false), set_config('IntervalStyle', 'iso_8601', false),
       set_config('extra_float_digits', '1', false)
