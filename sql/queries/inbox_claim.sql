-- Claims a message for a consumer: applied, or duplicate. The handler writes in the same transaction.
SELECT inbox.claim(%(consumer)s, %(message_id)s) AS verdict, NULL::bigint AS stored
