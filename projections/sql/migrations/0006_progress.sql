-- How far every projection is, for those who compare it with the log, such as the console: they read
-- views only.
CREATE VIEW read_model.progress AS
    SELECT projection, version, partition, position FROM projection.checkpoint;
