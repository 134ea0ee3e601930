use http::{HeaderMap, StatusCode};

use super::*;
use crate::cache::{
    encryption::EncryptionKey,
    semantic::{
        answer::AnswerSketch,
        guards::Signature,
        ledger::{Label, LabelSource, Nearness},
        question::Partition,
        vector::Vector,
    },
};

const CANARY: &[u8] = b"the canary answers";

fn head() -> StateHead {
    StateHead { scope: scope("ns", None), embedder: "minilm, canary".to_owned(), written_at: 1000 }
}

fn key(digit: &str) -> Box<str> {
    format!("query:{}", digit.repeat(64)).into()
}

fn record() -> Record {
    Record {
        key: key("a"),
        partition: Partition([1; 32]),
        vector: Vector::new(&[0.5, 0.5]).expect("a vector"),
        signature: Signature::new("How many canaries?"),
        answer: AnswerSketch::new("Three.", None),
        expires_at: 5000,
        callers: Vec::new(),
    }
}

fn events() -> Vec<SemanticEvent> {
    let near = Nearness { similarity: 0.9, disagreement: 0.0 };
    let label = Label { at: 7, partition: Partition([1; 32]), near, same: true, source: LabelSource::Shadow };
    vec![
        SemanticEvent::SteppedBack { route: "POST /canary".into(), at: 3 },
        SemanticEvent::Labelled { route: "POST /canary".into(), label },
        SemanticEvent::Separated { asked: key("b"), original: key("a") },
    ]
}

fn encryption(digit: &str) -> Encryption {
    Encryption::new(&EncryptionKey::parse(&digit.repeat(64)).expect("a key"), None)
}

fn written(id: u8, encryption: Option<&Encryption>) -> Vec<u8> {
    let mut writer = StateWriter::begin(Vec::new(), [id; 16], encryption, &head()).expect("room");
    events().iter().for_each(|event| writer.event(event).expect("room"));
    writer.stored(record(), CANARY).expect("room");
    let written = writer.written();
    let file = writer.finish().expect("room");
    assert!(file.len() as u64 > written, "the end follows");
    file
}

fn read(file: Vec<u8>, encryption: Option<&Encryption>) -> Result<State, StateError> {
    State::read(&file.into(), encryption)
}

/// With the checksum that it needs.
fn checked(mut file: Vec<u8>) -> Vec<u8> {
    let end = file.len() - CHECKSUM_LEN;
    let checksum = xxh3_128(&file[..end]).to_le_bytes();
    file[end..].copy_from_slice(&checksum);
    file
}

/// Where each frame of `file` is, its length included.
fn frames(file: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut frames = Vec::new();
    let mut at = MAGIC.len() + 17;
    while at < file.len() - CHECKSUM_LEN {
        let length = u32::from_le_bytes(file[at..at + 4].try_into().expect("four bytes")) as usize;
        frames.push(at..at + 4 + length);
        at += 4 + length;
    }
    frames
}

#[test]
fn a_state_comes_back_as_it_was() {
    let encryption = encryption("1");
    for encryption in [None, Some(&encryption)] {
        let state = read(written(1, encryption), encryption).expect("a state");
        assert_eq!(state.head, head());
        assert_eq!(format!("{:?}", state.events), format!("{:?}", events()));
        let [StoredRecord { record: read, envelope }] = &state.stored[..] else { panic!("one entry") };
        assert_eq!(format!("{read:?}"), format!("{:?}", record()));
        assert_eq!(&envelope[..], CANARY);
    }
}

#[test]
fn a_file_that_is_not_as_it_was_written_is_refused() {
    let key = encryption("1");
    for encryption in [None, Some(&key)] {
        let whole = written(1, encryption);
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(read(changed, encryption).is_err(), "byte {at}");
            assert!(read(whole[..at].to_vec(), encryption).is_err(), "cut at {at}");
        }
        assert!(read([&whole[..], b"x"].concat(), encryption).is_err(), "longer");
        let spans = frames(&whole);
        let all: Vec<&[u8]> = spans.iter().map(|span| &whole[span.clone()]).collect();
        let of = |frames: &[&[u8]]| {
            checked([&whole[..spans[0].start], &frames.concat(), &[0; CHECKSUM_LEN]].concat())
        };
        assert!(read(of(&all), encryption).is_ok());
        for at in 0..all.len() {
            let without: Vec<_> =
                all.iter().enumerate().filter(|(place, _)| *place != at).map(|(_, frame)| *frame).collect();
            assert!(read(of(&without), encryption).is_err(), "without frame {at}");
            let twice = [&all[..=at], &all[at..]].concat();
            assert!(read(of(&twice), encryption).is_err(), "frame {at} twice");
        }
        assert!(read(of(&[]), encryption).is_err(), "no frames");
    }
}

#[test]
fn a_sealed_file_opens_with_its_key_and_shows_nothing() {
    let (one, other) = (encryption("1"), encryption("2"));
    let file = written(1, Some(&one));
    for word in [&b"canary"[..], b"minilm", b"POST", b"query"] {
        assert!(!file.windows(word.len()).any(|window| window == word));
    }
    assert_eq!(read(file.clone(), None).err(), Some(StateError::OtherKey));
    assert_eq!(read(file.clone(), Some(&other)).err(), Some(StateError::OtherKey));
    assert_eq!(
        read(written(1, None), Some(&one)).err(),
        Some(StateError::OtherKey),
        "nothing is taken unsealed"
    );
    // Frames change places, with a checksum that fits, or come from another file of the same key.
    let spans = frames(&file);
    let [first, second] = [&spans[1], &spans[2]];
    let swapped = [&file[..first.start], &file[second.clone()], &file[first.clone()], &file[second.end..]];
    assert_eq!(read(checked(swapped.concat()), Some(&one)).err(), Some(StateError::OtherKey));
    let mut mixed = file.clone();
    mixed[first.clone()].copy_from_slice(&written(2, Some(&one))[first.clone()]);
    assert_eq!(read(checked(mixed), Some(&one)).err(), Some(StateError::OtherKey));
    // After a change of the key, the former one opens it.
    let [new, old] = ["2", "1"].map(|digit| EncryptionKey::parse(&digit.repeat(64)).expect("a key"));
    assert!(read(file, Some(&Encryption::new(&new, Some(&old)))).is_ok());
}

#[test]
fn another_version_is_foreign() {
    let mut file = written(1, None);
    file[3] += 1;
    assert_eq!(read(file, None).err(), Some(StateError::Foreign));
    assert_eq!(read(Vec::new(), None).err(), Some(StateError::Foreign));
}

#[test]
fn a_scope_is_one_namespace_in_one_epoch() {
    let scopes = [
        scope("ns", None),
        scope("ns", Some("")),
        scope("ns", Some("1")),
        scope("ns1", None),
        scope("n", Some("s")),
    ];
    for (at, one) in scopes.iter().enumerate() {
        assert!(scopes[at + 1..].iter().all(|other| one != other), "{at}");
    }
}

#[test]
fn an_entry_comes_back_for_the_rest_of_its_life_if_the_clock_tells() {
    let entry = Entry {
        stored_at: 10_000,
        ttl: Duration::from_millis(60_000),
        stale_if_error: Duration::from_millis(1_000),
        ..Entry::new(StatusCode::OK, HeaderMap::new(), Bytes::new())
    };
    for (written_at, now, rest, why) in [
        (10_000, 10_000, Some(61_000), "just stored"),
        (20_000, 30_000, Some(41_000), "used for a while"),
        (20_000, 70_999, Some(1), "a moment left"),
        (20_000, 71_000, None, "its end has come"),
        (20_000, 19_999, None, "the clock was set back since"),
        (9_999, 30_000, None, "the clock was set back before"),
        (20_000, u64::MAX, None, "the end of time"),
    ] {
        assert_eq!(rest_of_life(&entry, written_at, now), rest.map(Duration::from_millis), "{why}");
    }
    let lasting = Entry { ttl: Duration::MAX, ..entry };
    assert!(rest_of_life(&lasting, 20_000, 20_000 + MAX_GAP).is_some());
    assert!(rest_of_life(&lasting, 20_000, 20_001 + MAX_GAP).is_none(), "another process may have run since");
}
