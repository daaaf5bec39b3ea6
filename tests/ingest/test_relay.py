"""The relay, from real databases to a real broker: what is committed is published, in order."""

from tests.ingest.shop import Shop, assert_in_order


def test_what_is_committed_is_published_once_with_its_key_and_id(shop: Shop) -> None:
    shop.add("A-1", "A-2", "A-1")
    shop.add("S-1", "Ünïcode 客", side="supplier")
    undone = shop.connect()
    shop.write(undone, "A-9", "A-1")
    undone.rollback()
    assert shop.drain().published == 5
    assert shop.drain().published == 0
    ids: dict[str, list[str]] = {}
    for activity, event in shop.rows("aggregateid, id"):
        ids.setdefault(activity, []).append(str(event))
    seen = shop.records()
    assert_in_order(seen, ids)
    assert len(seen) == 5
    assert {(record.topic, record.key) for record in seen} == {
        (shop.topics["agoda"], "A-1"),
        (shop.topics["agoda"], "A-2"),
        (shop.topics["supplier"], "S-1"),
        (shop.topics["supplier"], "Ünïcode 客"),
    }
    assert all(record.value == {"activityId": record.key} for record in seen)
    assert shop.unpublished() == 0
