//! Several stores in one process, on one Redis.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sidecache::internals::{
    cache::{invalidation::Target, key::Key, route::kind::Kind},
    store::Store,
};

use super::{BOUND, LIFE, entry, is_near, key, kill_readers, lookups, put, replica, replica_within, version};
use crate::support::{RedisServer, eventually, eventually_within, measured, run};

const NEAR: u64 = 1 << 20;

/// What a busy machine may add to a promised time, where the near cache itself is not timed.
const SLACK: Duration = Duration::from_secs(30);

fn path() -> Target {
    Target::Path("/api/v1/documents/1".to_owned())
}

#[test]
fn every_invalidation_reaches_the_other_near_cache_in_time() {
    run(async {
        let redis = RedisServer::start();
        let (one, two) = (replica(&redis, NEAR).await, replica(&redis, NEAR).await);
        let other = key("other");
        let depends = [Target::Tag("t".to_owned()), path(), Target::Conversation("c".to_owned())];
        let kinds = [
            vec![Target::All],
            vec![Target::Kind(Kind::Query)],
            vec![Target::Key(*other.digest())],
            depends[..1].to_vec(),
            depends[1..2].to_vec(),
            depends[2..].to_vec(),
            vec![Target::Pattern(format!("{}*", &other.local()[..12]))],
        ];
        for (round, targets) in kinds.iter().enumerate() {
            let number = round as u64;
            put(&one, &other, number, &depends).await;
            eventually("the other knows the order", async || {
                (version(&two, &other).await == Ok(Some(number))).then_some(())
            })
            .await;
            is_near(&redis, &two, &other, number).await;
            one.invalidate(targets).await.expect("invalidated");
            assert_eq!(version(&one, &other).await, Ok(None), "{targets:?}");
            let invalidated = Instant::now();
            while invalidated.elapsed() < BOUND + SLACK {
                let asked = Instant::now();
                let found = version(&two, &other).await;
                assert!(found == Ok(None) || asked < invalidated + BOUND, "{targets:?}: {found:?}");
                if found == Ok(None) {
                    break;
                }
            }
        }
    });
}

#[test]
fn a_replaced_or_removed_entry_leaves_the_other_near_cache_in_time() {
    run(async {
        let redis = RedisServer::start();
        let (one, two) = (replica(&redis, NEAR).await, replica(&redis, NEAR).await);
        let key = key("one");
        for number in 1..20 {
            put(&one, &key, number, &[]).await;
            let changed = Instant::now();
            eventually_within(BOUND + SLACK, "the new one", async || {
                let asked = Instant::now();
                let found = version(&two, &key).await.expect("it works").expect("an entry");
                assert!(found == number || asked < changed + BOUND, "{found} instead of {number}");
                (found == number).then_some(())
            })
            .await;
            is_near(&redis, &two, &key, number).await;
            if number % 2 == 0 {
                assert_eq!(one.remove(&key).await, Ok(true));
                assert_eq!(version(&one, &key).await, Ok(None));
                let removed = Instant::now();
                eventually_within(BOUND + SLACK, "nothing", async || {
                    let asked = Instant::now();
                    let found = version(&two, &key).await.expect("it works");
                    assert!(found.is_none() || asked < removed + BOUND, "{found:?} after its removal");
                    found.is_none().then_some(())
                })
                .await;
            }
        }
    });
}

#[test]
fn an_entry_that_expires_in_redis_expires_in_the_near_cache() {
    run(async {
        let redis = RedisServer::start();
        let (one, two) = (replica(&redis, NEAR).await, replica(&redis, NEAR).await);
        let (key, life) = (key("short"), Duration::from_millis(400));
        let short = entry(&one, 1, life, &[]).expect("the order is known");
        one.put(&key, Arc::new(short), life).await.expect("stored");
        let stored = Instant::now();
        loop {
            let asked = Instant::now();
            for store in [&one, &two] {
                let found = version(store, &key).await.expect("it works");
                assert!(found.is_none() || asked < stored + life + BOUND, "{:?}", asked - stored);
            }
            if stored.elapsed() > life + BOUND {
                break;
            }
            // Polls until the end: the entry must not come back after a first miss.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(redis.keys(), 3, "the streams and the order alone");
    });
}

#[test]
fn an_own_write_is_in_the_near_cache_at_once() {
    run(async {
        let redis = RedisServer::start();
        let (one, none) = (replica(&redis, NEAR).await, replica(&redis, 0).await);
        let key = key("own");
        // On a busy machine the near cache may drop it, but not always.
        let mut number = 0;
        eventually("near at once", async || {
            number += 1;
            put(&one, &key, number, &[]).await;
            let before = lookups(&redis);
            let found = one.get_many(std::slice::from_ref(&key)).await.remove(0).expect("it works");
            assert_eq!(found.expect("an entry").body, number.to_le_bytes()[..]);
            (lookups(&redis) == before).then_some(())
        })
        .await;
        // A replica without a near cache announces its writes to the others.
        put(&none, &key, 0, &[]).await;
        eventually_within(BOUND + SLACK, "announced", async || {
            (version(&one, &key).await == Ok(Some(0))).then_some(())
        })
        .await;
        let before = lookups(&redis);
        for _ in 0..10 {
            none.get_many(std::slice::from_ref(&key)).await.remove(0).expect("it works").expect("an entry");
        }
        assert_eq!(lookups(&redis), before + 10, "nothing is near where there is no tier");
    });
}

/// Keys whose entries are in the near cache and no longer in Redis, without an announcement.
async fn near_alone(redis: &RedisServer, store: &Store) -> Vec<Key> {
    let keys: Vec<_> = (0..20).map(|number| key(&number.to_string())).collect();
    eventually("near alone", async || {
        for key in &keys {
            put(store, key, 7, &[]).await;
            is_near(redis, store, key, 7).await;
        }
        keys.iter().for_each(|key| drop(redis.cli(&["DEL", &key.name()])));
        // On a busy machine the near cache may have dropped them.
        (version(store, &keys[0]).await == Ok(Some(7))).then_some(())
    })
    .await;
    keys
}

#[test]
fn a_lost_stream_empties_the_near_cache() {
    run(async {
        let redis = RedisServer::start();
        let one = replica(&redis, NEAR).await;
        let writes = "ns:_:{retired}:writes";
        let losses: [&dyn Fn(); 4] = [
            &|| kill_readers(&redis),
            &|| drop(redis.cli(&["DEL", writes])),
            &|| drop(redis.talk(&[&["DEL", writes], &["XADD", writes, "*", "k", ""]])),
            &|| drop(redis.talk(&[&["XADD", writes, "*", "k", ""], &["XTRIM", writes, "MAXLEN", "0"]])),
        ];
        for (round, lose) in losses.iter().enumerate() {
            let keys = near_alone(&redis, &one).await;
            lose();
            for key in &keys {
                let gone = async || (version(&one, key).await == Ok(None)).then_some(());
                eventually_within(BOUND + SLACK, &format!("gone, round {round}"), gone).await;
            }
            put(&one, &keys[0], 8, &[]).await;
            is_near(&redis, &one, &keys[0], 8).await;
        }
    });
}

#[test]
fn a_redis_that_hangs_or_dies_empties_the_near_cache() {
    run(async {
        let mut redis = RedisServer::start();
        let one = replica_within(&redis, NEAR, Duration::from_millis(50)).await;
        let key = key("one");
        for round in 0..2 {
            let near = async || {
                let entry = entry(&one, round, LIFE, &[])?;
                one.put(&key, Arc::new(entry), LIFE).await.ok()?;
                (version(&one, &key).await == Ok(Some(round))).then_some(())
            };
            eventually("stored", near).await;
            if round == 0 {
                redis.pause()
            } else {
                redis.kill()
            }
            let since = Instant::now();
            let (mut failed, mut last) = (0, Duration::ZERO);
            while failed < 20 {
                let asked = Instant::now();
                match version(&one, &key).await {
                    Ok(found) => {
                        assert!(asked < since + BOUND, "{found:?} after {:?}", asked - since);
                        last = asked - since;
                    }
                    Err(_) => failed += 1,
                }
                assert!(asked.elapsed() < SLACK, "{:?}", asked.elapsed());
            }
            measured(format_args!("given for {last:.1?} after Redis {}", ["hung", "died"][round as usize]));
            if round == 0 { redis.resume() } else { redis.restart() }
        }
        eventually_within(SLACK + SLACK, "back", async || one.now()).await;
    });
}

#[test]
fn announcements_are_bounded_and_written_only_while_a_replica_listens() {
    run(async {
        let redis = RedisServer::start();
        let none = replica(&redis, 0).await;
        put(&none, &key("one"), 1, &[]).await;
        let (stream, writes) = ("ns:_:{retired}:stream", "ns:_:{retired}:writes");
        assert_eq!(redis.cli(&["EXISTS", writes]), "0");
        let _listens = replica(&redis, NEAR).await;
        assert_eq!(redis.cli(&["XLEN", writes]), "1");
        let before = redis.cli(&["XLEN", stream]);
        let began = none.now().expect("the order is known");
        for lot in 0..110 {
            let many = (0..100).map(|number| {
                let short = entry(&none, number, LIFE, &[]).expect("the order is known");
                (key(&format!("{lot}-{number}")), Arc::new(short), LIFE)
            });
            none.put_many(many.collect()).await.expect("stored");
        }
        let length: u64 = redis.cli(&["XLEN", writes]).parse().expect("a count");
        assert!((10_000..10_200).contains(&length), "{length}");
        assert_eq!(redis.cli(&["XLEN", stream]), before, "retirements have a stream of their own");
        // A replica that starts now still knows all invalidations.
        let late = replica(&redis, NEAR).await;
        assert_eq!(version(&late, &key("one")).await, Ok(Some(1)));
        assert_eq!(late.now(), Some(began));
    });
}
