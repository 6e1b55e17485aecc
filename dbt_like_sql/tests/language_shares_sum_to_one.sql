/*
description: The languages of a crawl are all of it, before the filter and after it.
*/
SELECT crawl, sum(share) AS share, sum(released_share) AS released_share
FROM {{ ref('language_share') }}
GROUP BY crawl
HAVING abs(sum(share) - 1) > 1e-9 OR abs(sum(released_share) - 1) > 1e-9
