-- How far every projection is, for those who compare it with the log, such as the console: they read
-- views only. One that was added has a row before its first worker, too; `moved_at` is for those alone.
CREATE VIEW read_model.progress AS
    SELECT place.projection, place.version, place.partition, place.position, NULL::timestamptz AS moved_at
    FROM projection.checkpoint AS place
    WHERE NOT EXISTS (SELECT FROM derived.projection AS added
                      WHERE added.name = place.projection AND added.version = place.version)
    UNION ALL
    SELECT added.name, added.version, coalesce(place.partition, -1), coalesce(place.position, 0), added.moved_at
    FROM derived.projection AS added
    LEFT JOIN projection.checkpoint AS place ON place.projection = added.name AND place.version = added.version;
