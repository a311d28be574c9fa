-- Makes a partition's index part of the table's, which is valid once every partition's is.
ALTER INDEX {parent} ATTACH PARTITION {index}
