//! What `sidecache check` and a start say of `[semantic]`.

use std::fs;

use serde_json::json;

use crate::support::{
    Script, Setup, Upstream, run,
    tiny_bert::{self, SHAPE},
};

/// A service that gives vectors, too.
async fn service() -> Upstream {
    Upstream::start(|request| {
        // It tells the two texts of the probe apart.
        let is_contrast = String::from_utf8_lossy(&request.body).contains("orchestra");
        let vector = if is_contrast { [0.8, -0.6] } else { [0.6, 0.8] };
        Script::json(
            &json!({"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": vector}]}),
        )
    })
    .await
}

/// What `check --strict` says of these settings: whether it is content, and its words.
fn check(url: &str, semantic: &str, prepare: impl FnOnce(&Setup)) -> (bool, String) {
    let route = "[[route]]\nmatch = \"POST /ask\"\nkind = \"query\"\nsemantic = true\n";
    let setup =
        Setup::to(url).config(&format!("[semantic]\n{semantic}\n{route}")).arguments(&["check", "--strict"]);
    prepare(&setup);
    let ended = setup.command().output().expect("it runs");
    let text = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8(bytes).expect("a text")).concat();
    (ended.status.success(), text)
}

fn in_folder(setup: &Setup) {
    let folder = setup.dir().join("model");
    fs::create_dir(&folder).expect("a folder");
    tiny_bert::write(&folder, 7, SHAPE);
}

#[test]
fn check_tries_the_endpoint_and_shows_who_takes_part() {
    run(async {
        let service = service().await;
        let url = service.url();
        let endpoint =
            format!("mode = \"serve\"\nmodel = \"m\"\nembeddings = \"{url}/v1/embeddings?key=sesame\"");
        let (good, text) = check(&url, &endpoint, |_| {});
        assert!(good, "{text}");
        for line in ["semantic.mode ", "POST /ask  query  1800 s  semantic  (", "embeddings?key=***"] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        assert!(!text.contains("sesame"), "{text}");
    });
}

#[test]
fn check_warns_of_an_endpoint_that_gives_no_vectors() {
    run(async {
        let service = Upstream::start(|_| Script::json(&json!({"data": []}))).await;
        let url = service.url();
        let endpoint =
            format!("mode = \"shadow\"\nmodel = \"m\"\nembeddings = \"{url}/v1/embeddings?key=sesame\"");
        let (good, text) = check(&url, &endpoint, |_| {});
        assert!(!good && text.contains("error: semantic.embeddings: ") && !text.contains("sesame"), "{text}");
        let (off, text) = check(&url, &endpoint.replace("shadow", "off"), |_| {});
        assert!(off, "{text}");
    });
}

#[test]
fn check_loads_the_model_and_says_what_is_wrong_with_it() {
    run(async {
        let service = service().await;
        let url = service.url();
        let folder = "mode = \"shadow\"\nmodel_dir = \"model\"";
        let (good, text) = check(&url, folder, in_folder);
        assert!(good, "{text}");
        let (good, text) = check(&url, folder, |setup| {
            in_folder(setup);
            fs::write(setup.dir().join("model/config.json"), "{}").expect("a file");
        });
        assert!(!good && text.contains("semantic.model_dir: model/config.json: missing field"), "{text}");
        let (good, text) = check(&url, folder, |_| {});
        assert!(!good && text.contains("semantic.model_dir: model/config.json: No such file"), "{text}");
    });
}

#[test]
fn check_warns_of_tokens_without_tls_and_of_settings_without_effect() {
    run(async {
        let service = service().await;
        let url = service.url();
        // No machine has these names (RFC 6761, section 6.4).
        let endpoint = "mode = \"shadow\"\nmodel = \"m\"\nembeddings = \"http://vectors.invalid/v1/embeddings\"\n\
                        judge = \"http://judge.invalid/v1/chat/completions\"\njudge_model = \"j\"";
        let keys = "\napi_key_file = \"key\"\njudge_api_key_file = \"key\"";
        let key = |setup: &Setup| fs::write(setup.dir().join("key"), "sesame\n").expect("a file");
        let (_, text) = check(&url, &format!("{endpoint}{keys}"), key);
        for setting in ["semantic.embeddings", "semantic.judge"] {
            let warning =
                format!("error: {setting} is without TLS: whoever is on the way can read its token\n");
            assert!(text.contains(&warning) && !text.contains("sesame"), "{text}");
        }
        let (_, text) = check(&url, endpoint, |_| {});
        assert!(!text.contains("without TLS"), "{text}");
        let idle =
            format!("[semantic]\nmode = \"shadow\"\nmodel = \"m\"\nembeddings = \"{url}/v1/embeddings\"");
        let ended = Setup::to(&url).config(&idle).arguments(&["check"]).command().output().expect("it runs");
        let text = String::from_utf8(ended.stderr).expect("a text");
        assert!(ended.status.success(), "{text}");
        assert!(text.contains("warning: [semantic] has no effect: no route has semantic = true\n"), "{text}");
    });
}

#[test]
fn a_missing_token_is_an_error() {
    run(async {
        let service = service().await;
        let url = service.url();
        let endpoint = format!(
            "mode = \"shadow\"\nmodel = \"m\"\nembeddings = \"{url}/v1/embeddings\"\napi_key_file = \"key\""
        );
        let (good, text) = check(&url, &endpoint, |_| {});
        assert!(!good && text.contains("semantic.api_key_file: key: No such file"), "{text}");
    });
}
