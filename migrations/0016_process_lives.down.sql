DROP TABLE durable.process_lives;
