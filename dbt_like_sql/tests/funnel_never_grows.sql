/*
description: No stage lets through more pairs than the one before it. It does where a stage was built again and those
  after it were not, `laion build` makes them agree.
*/
SELECT *
FROM {{ ref('funnel') }}
WHERE NOT (candidates >= unique_pairs AND unique_pairs >= downloaded AND downloaded >= embedded AND embedded >= kept)
