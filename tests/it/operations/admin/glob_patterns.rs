//! Patterns match the same keys as in Redis.

use sidecache::internals::cache::invalidation::glob;

use crate::support::RedisServer;

/// A text of these characters, at random.
fn random(characters: &[char], longest: usize) -> String {
    (0..fastrand::usize(..=longest)).map(|_| characters[fastrand::usize(..characters.len())]).collect()
}

#[test]
fn patterns_match_as_in_redis() {
    let redis = RedisServer::start();
    let mut keys: Vec<_> = (0..300).map(|_| random(&['a', 'b', 'c', ']', '\\', '*', '-', '^'], 5)).collect();
    keys.retain(|key| !key.is_empty());
    keys.sort_unstable();
    keys.dedup();
    for key in &keys {
        redis.cli(&["SET", key, "x"]);
    }
    for _ in 0..2000 {
        let pattern = random(&['a', 'b', 'c', '*', '?', '[', ']', '^', '-', '\\'], 8);
        let reply = redis.cli(&["KEYS", &pattern]);
        let mut theirs: Vec<_> = reply.lines().map(str::to_owned).collect();
        theirs.sort_unstable();
        let ours: Vec<_> = keys.iter().filter(|key| glob::matches(&pattern, key)).cloned().collect();
        assert_eq!(ours, theirs, "{pattern:?}");
    }
}
