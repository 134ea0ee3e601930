use proptest::{collection::vec, option, prelude::*};

use super::*;

fn key() -> impl Strategy<Value = Box<str>> {
    any::<[u8; 32]>().prop_map(|digest| format!("query:{}", blake3::Hash::from_bytes(digest).to_hex()).into())
}

fn vector() -> impl Strategy<Value = Vector> {
    let is_some = |components: &Vec<f32>| components.iter().any(|component| component.abs() > 0.01);
    let components = vec(-1.0_f32..1.0, 1..50).prop_filter("not all zero", is_some);
    components.prop_map(|components| Vector::new(&components).expect("a vector"))
}

fn partition() -> impl Strategy<Value = Partition> {
    any::<[u8; 32]>().prop_map(Partition)
}

fn record() -> impl Strategy<Value = Record> {
    let answer = (any::<[u8; 16]>(), any::<[u8; 16]>(), option::of(vector()))
        .prop_map(|(text, facts, vector)| AnswerSketch { text, facts, vector });
    let signature = "[ -~äß東京\n]{0,60}".prop_map(|text| Signature::new(&text));
    let callers = vec(any::<u64>().prop_map(CallerId), 0..=2);
    let fields = (key(), partition(), vector(), signature, answer, any::<u64>(), callers);
    fields.prop_map(|(key, partition, vector, signature, answer, expires_at, callers)| Record {
        key,
        partition,
        vector,
        signature,
        answer,
        expires_at,
        callers,
    })
}

fn label() -> impl Strategy<Value = Label> {
    let source = prop::sample::select(vec![LabelSource::Shadow, LabelSource::Audit, LabelSource::Report]);
    (any::<u64>(), partition(), -1.0_f32..=1.0, -1.0_f32..=1.0, any::<bool>(), source).prop_map(
        |(at, partition, similarity, disagreement, same, source)| Label {
            at,
            partition,
            near: Nearness { similarity, disagreement },
            same,
            source,
        },
    )
}

fn event() -> impl Strategy<Value = SemanticEvent> {
    let route = "[ -~]{0,40}".prop_map(Box::<str>::from);
    prop_oneof![
        record().prop_map(SemanticEvent::Added),
        (key(), any::<u64>())
            .prop_map(|(key, caller)| SemanticEvent::AskedBy { key, caller: CallerId(caller) }),
        (route.clone(), label()).prop_map(|(route, label)| SemanticEvent::Labelled { route, label }),
        (key(), key()).prop_map(|(asked, original)| SemanticEvent::Separated { asked, original }),
        (route.clone(), any::<u64>()).prop_map(|(route, at)| SemanticEvent::SteppedBack { route, at }),
        route.prop_map(|identity| SemanticEvent::Embedder { identity }),
    ]
}

/// Events have no equality of their own: their texts for developers show every field.
fn text(event: &SemanticEvent) -> String {
    format!("{event:?}")
}

proptest! {
    #[test]
    fn an_event_comes_back_as_it_was(event in event()) {
        let read = SemanticEvent::decode(&event.encode()).expect("an event");
        prop_assert_eq!(text(&read), text(&event));
    }

    #[test]
    fn what_is_cut_or_longer_is_no_event(event in event(), at in any::<prop::sample::Index>(), more in any::<u8>()) {
        let mut bytes = event.encode();
        prop_assert!(SemanticEvent::decode(&bytes[..at.index(bytes.len())]).is_none());
        bytes.push(more);
        prop_assert!(SemanticEvent::decode(&bytes).is_none());
    }

    /// A changed byte is refused, or it is another event: nothing is read in two ways, and nothing panics.
    #[test]
    fn a_changed_byte_is_refused_or_another_event(event in event(), at in any::<prop::sample::Index>(), flip in 1..=u8::MAX) {
        let mut bytes = event.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Some(read) = SemanticEvent::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes);
            prop_assert_ne!(text(&read), text(&event));
        }
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..300), kind in 0..8_u8) {
        for bytes in [bytes.clone(), [&[VERSION, kind], &bytes[..]].concat()] {
            if let Some(event) = SemanticEvent::decode(&bytes) {
                prop_assert_eq!(event.encode(), bytes);
            }
        }
    }
}

#[test]
fn what_no_replica_writes_is_refused() {
    let key = format!("query:{}", "0a".repeat(32));
    let separated = |asked: &str| {
        SemanticEvent::Separated { asked: asked.into(), original: key.as_str().into() }.encode()
    };
    assert!(SemanticEvent::decode(&separated(&key)).is_some());
    for bad in [
        "",
        "query:",
        "what:00",
        &key[6..],
        &key[..69],
        &key.to_uppercase(),
        "query:a question",
        &"query:".repeat(12),
    ] {
        assert!(SemanticEvent::decode(&separated(bad)).is_none(), "{bad}");
    }
    let labelled = |similarity, disagreement| {
        let near = Nearness { similarity, disagreement };
        let label =
            Label { at: 1, partition: Partition([7; 32]), near, same: true, source: LabelSource::Audit };
        SemanticEvent::Labelled { route: "r".into(), label }.encode()
    };
    assert!(SemanticEvent::decode(&labelled(1.0, 0.0)).is_some());
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.5, -2.0] {
        assert!(SemanticEvent::decode(&labelled(bad, 0.0)).is_none(), "{bad}");
        assert!(SemanticEvent::decode(&labelled(0.0, bad)).is_none(), "{bad}");
    }
    let long = SemanticEvent::Embedder { identity: "m".repeat(MAX_LEN).into() }.encode();
    assert!(SemanticEvent::decode(&long).is_none(), "too long");
    let mut other_version = separated(&key);
    other_version[0] += 1;
    assert!(SemanticEvent::decode(&other_version).is_none(), "another version");
}

#[test]
fn no_text_of_a_question_or_of_an_answer_is_in_an_event() {
    let words =
        ["Canaries", "refund", "enable", "4711", "Zanzibar", "https://canary.example/x", "`rm_canary`"];
    let question = words.join(" ");
    let record = Record {
        key: format!("query:{}", "0a".repeat(32)).into(),
        partition: Partition([7; 32]),
        vector: Vector::new(&[0.5, -0.25]).expect("a vector"),
        signature: Signature::new(&question),
        answer: AnswerSketch::new(&question, None),
        expires_at: 9,
        callers: vec![CallerId(1)],
    };
    let bytes = SemanticEvent::Added(record).encode().to_ascii_lowercase();
    for word in words {
        let word = word.to_ascii_lowercase();
        assert!(!bytes.windows(word.len()).any(|window| window == word.as_bytes()), "{word}");
    }
}
