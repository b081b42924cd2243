-- Columns of ids and of JSON come as text, one value per line, none of which has a line break inside:
-- to the driver they cost a tenth of an array.

-- name: record_orders
SELECT log.record_orders(
    string_to_array($1, E'\n'), string_to_array($2, E'\n'), string_to_array($3, E'\n'), $4, $5,
    $6, string_to_array($7, E'\n'), string_to_array($8, E'\n'), $9, $10, $11);
