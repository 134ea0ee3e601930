//! Response headers that describe one call and not the answer: the rest of the client's quota, the cost, the
//! time, the account, the id of the request, what the call has made for its caller (a session, a run). A hit
//! makes no such call, so it repeats none of these headers.
//!
//! Three lists say which headers these are: whole names, beginnings of names, and words in names, for the
//! many that no list can know. A header that says which model answered stays, since it describes the answer.
//! `docs/CACHING.md` has the same table with the reasons.

use http::HeaderName;

/// Whole names; sorted.
const NAMES: [&str; 48] = [
    "azure-openai-deployment-utilization",
    "azureml-model-group",
    "b3",
    "baggage",
    "cf-cache-status",
    "cf-placement",
    "cf-ray",
    // Where what the call has made is found.
    "content-location",
    "endpoint-load-metrics",
    "idempotency-key",
    "idempotent-replayed",
    "location",
    "newrelic",
    "num_chars",
    "openai-organization",
    "openai-project",
    "req-arrive-time",
    "resp-start-time",
    "rndr-id",
    "sentry-trace",
    "server-timing",
    "target-pod",
    "traceresponse",
    "tracestate",
    "x-amz-cf-id",
    "x-amz-cf-pop",
    "x-amz-id-2",
    "x-api-call-end",
    "x-api-call-start",
    "x-api-received",
    "x-azure-ref",
    "x-cloud-trace-context",
    "x-endpoint-monthly-call-limit",
    "x-gemini-service-tier",
    "x-guploader-uploadid",
    "x-ms-rai-invoked",
    "x-ms-region",
    "x-ms-request-charge",
    "x-openrouter-provider",
    "x-ot-span-context",
    "x-runtime",
    "x-should-retry",
    "x-time-per-token",
    "x-timer",
    "x-tokenization-time",
    "x-upstream-cache",
    "x-validation-time",
    "x-vercel-id",
];

/// Beginnings of names; sorted.
const PREFIXES: [&str; 33] = [
    "anthropic-fast-",
    "anthropic-priority-",
    "azureml-",
    "cf-ai-",
    "cf-aig-",
    "cmp-upstream-",
    "fireworks-",
    "helicone-",
    "llm_provider-",
    "msh-",
    "ngrok-aig-",
    "nvcf-",
    "x-aml-",
    "x-amzn-bedrock-",
    "x-amzn-remapped-",
    "x-apisix-",
    "x-b3-",
    "x-compute-",
    "x-dashscope-",
    "x-datadog-",
    "x-ds-",
    "x-envoy-",
    "x-gateway-destination-",
    "x-groq-",
    "x-instana-",
    "x-kong-",
    "x-litellm-",
    "x-metrics-",
    "x-ms-azureml-",
    "x-portkey-",
    "x-trial-endpoint-",
    "x-tt-",
    "x-vertex-ai-",
];

/// Ends of names that say which model answered, whatever the beginning.
const MODELS: [&str; 4] = ["-model", "-model-name", "-model-group", "-model-version"];

/// Whether the response header describes one call alone.
pub(crate) fn tells_of_one_call(name: &HeaderName) -> bool {
    let name = name.as_str();
    if NAMES.binary_search(&name).is_ok() {
        return true;
    }
    if MODELS.iter().any(|end| name.ends_with(end)) {
        return false;
    }
    PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || has_word_of_a_call(name)
}

/// Whether a word in the name shows it, or two neighbours do.
fn has_word_of_a_call(name: &str) -> bool {
    let mut before = "";
    name.split(['-', '_']).any(|word| {
        let pair = (std::mem::replace(&mut before, word), word);
        is_word_of_a_call(word) || is_pair_of_a_call(pair)
    })
}

fn is_word_of_a_call(word: &str) -> bool {
    let is_quota = matches!(word, "ratelimit" | "ratelimiting" | "ratelimitbysize" | "tokenlimit" | "quota");
    let is_cost = matches!(word, "cost" | "costs" | "credits" | "spend" | "spent" | "billed" | "tokens");
    let is_time = matches!(word, "latency" | "ttft" | "elapsed");
    let is_id = matches!(word, "requestid" | "reqid" | "traceid" | "spanid" | "logid" | "traceparent");
    let is_made = matches!(
        word,
        "session" | "sessionid" | "conversationid" | "threadid" | "chatid" | "runid" | "messageid" | "taskid"
    );
    is_quota || is_cost || is_time || is_id || is_made
}

fn is_pair_of_a_call(pair: (&str, &str)) -> bool {
    let (before, word) = pair;
    match word {
        "limit" => before == "rate",
        "after" => before == "retry",
        "token" => before == "first",
        "id" => {
            names_a_call(before)
                || names_what_a_call_makes(before)
                || matches!(before, "org" | "organization" | "organisation" | "workspace")
        }
        "time" | "duration" | "ms" => takes_time(before),
        _ => false,
    }
}

/// Whether the word names something of one call, so that its id is one call's too.
fn names_a_call(word: &str) -> bool {
    let is_traced = matches!(word, "trace" | "span" | "correlation" | "log" | "activity" | "transaction");
    is_traced || matches!(word, "request" | "req" | "call" | "invocation" | "generation" | "inference")
}

/// Whether the word names what a call makes, or goes on with, for its own caller.
fn names_what_a_call_makes(word: &str) -> bool {
    matches!(word, "conversation" | "thread" | "chat" | "run" | "message" | "task" | "turn" | "job")
}

/// Whether the word names a step in which an answer is made.
fn takes_time(word: &str) -> bool {
    let is_step = matches!(word, "request" | "response" | "queue" | "service" | "upstream" | "backend");
    let is_work =
        matches!(word, "process" | "processing" | "compute" | "inference" | "generation" | "execution");
    is_step || is_work || matches!(word, "total" | "duration")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tells(name: &str) -> bool {
        tells_of_one_call(&name.parse().expect("a header name"))
    }

    #[test]
    fn names_are_sorted_and_none_is_there_twice() {
        assert!(NAMES.is_sorted_by(|a, b| a < b));
        assert!(PREFIXES.is_sorted_by(|a, b| a < b));
        let is_named =
            |name: &str| PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || has_word_of_a_call(name);
        for name in NAMES {
            let is_model = MODELS.iter().any(|end| name.ends_with(end));
            assert!(is_model || !is_named(name), "{name} is known without being listed");
        }
    }

    #[test]
    fn every_name_is_documented() {
        let page = include_str!("../../docs/CACHING.md").to_lowercase();
        let table =
            page.split("### what tells of one call").nth(1).and_then(|rest| rest.split("\n### ").next());
        let table = table.expect("the table");
        let prefixes = PREFIXES.iter().map(|prefix| format!("{prefix}*"));
        for name in NAMES.iter().map(ToString::to_string).chain(prefixes) {
            let is_model = MODELS.iter().any(|end| name.ends_with(end));
            assert!(is_model || table.contains(&format!("`{name}`")), "{name}");
        }
    }

    /// As the vendors' own servers, and what stands before them, send them.
    #[test]
    fn what_vendors_and_gateways_tell_of_a_call_is_known() {
        for name in "
            openai-organization openai-project openai-processing-ms x-ratelimit-limit-requests
            x-ratelimit-remaining-tokens x-ratelimit-reset-tokens
            request-id anthropic-organization-id anthropic-workspace-id anthropic-ratelimit-tokens-remaining
            anthropic-ratelimit-unified-status anthropic-priority-input-tokens-limit traceresponse x-should-retry
            apim-request-id x-ms-client-request-id x-ms-request-id x-ms-correlation-request-id x-ms-region x-ms-rai-invoked
            azureml-model-session azureml-model-time azureml-model-group azure-openai-deployment-utilization retry-after-ms
            cmp-upstream-response-duration x-aml-vm-backend-duration x-azure-ref
            x-amzn-requestid x-amzn-trace-id x-amz-request-id x-amz-id-2 x-amz-cf-id x-amzn-remapped-date
            x-amzn-bedrock-input-token-count x-amzn-bedrock-output-token-count x-amzn-bedrock-invocation-latency
            x-amzn-bedrock-cache-read-input-token-count apigw-requestid
            x-vertex-ai-llm-request-type x-cloud-trace-context x-gemini-service-tier server-timing
            x-groq-region mistral-correlation-id ratelimitbysize-remaining x-ratelimitbysize-limit-minute
            x-debug-trace-id x-trial-endpoint-call-remaining x-endpoint-monthly-call-limit num_tokens num_chars
            x-ds-trace-id x-tokenlimit-remaining x-api-call-start x-total-time x-inference-time x-generation-id
            fireworks-prompt-tokens fireworks-cached-prompt-tokens fireworks-server-time-to-first-token
            x-compute-type x-compute-time x-compute-characters x-compute-tokens x-validation-time x-queue-time
            x-time-per-token x-prompt-tokens x-generated-tokens x-tokenization-time inference-id
            x-metrics-e2e-ms x-metrics-ttft-ms nvcf-reqid nvcf-status msh-request-id msh-org-id msh-uid
            req-cost-time req-arrive-time resp-start-time x-dashscope-call-gateway x-tt-logid x-log-id trace-id
            alb_request_id x-global-transaction-id x-databricks-org-id x-aimlapi-credits-used x-aimlapi-usd-spent
            x-litellm-call-id x-litellm-response-cost x-litellm-key-spend x-litellm-response-duration-ms
            x-litellm-overhead-duration-ms x-litellm-attempted-retries x-litellm-model-id x-litellm-model-api-base
            x-litellm-key-rpm-limit llm_provider-openai-processing-ms llm_provider-x-request-id
            x-portkey-trace-id x-portkey-cache-status x-portkey-retry-attempt-count x-portkey-last-used-option-index
            helicone-id helicone-cache helicone-ratelimit-remaining
            cf-ray cf-cache-status cf-aig-log-id cf-aig-event-id cf-aig-cache-status cf-aig-step cf-ai-neurons
            ngrok-aig-request-id ngrok-aig-attempts x-vercel-id fly-request-id rndr-id
            x-kong-upstream-latency x-kong-proxy-latency x-kong-request-id x-kong-upstream-status x-ai-ratelimit-query-cost
            x-envoy-upstream-service-time x-envoy-attempt-count x-apisix-upstream-status x-gateway-destination-endpoint
            ratelimit ratelimit-limit ratelimit-remaining ratelimit-reset ratelimit-policy retry-after x-retry-after
            x-rate-limit-remaining x-runtime x-response-time x-request-duration x-processing-time x-upstream-response-time
            x-timer x-execution-time-ms x-elapsed-ms x-upstream-cache x-upstream-process-time
            traceparent tracestate baggage b3 x-b3-traceid x-b3-sampled x-trace-id x-span-id x-datadog-trace-id sentry-trace
            x-correlation-id correlation-id x-requestid idempotency-key idempotent-replayed
            location content-location x-session-id session-id mcp-session-id x-session x-sessionid x-chat-session-id
            x-conversation-id conversation_id x-thread-id x-threadid x-run-id x-langgraph-run-id x-workflow-run-id
            x-chat-id x-message-id x-parent-message-id x-task-id x-turn-id x-job-id
            x-some-new-gateway-request-id x-acme-quota-left x-acme-cost-usd x-usage-tokens x-acme-latency
        "
        .split_whitespace()
        {
            assert!(tells(name), "{name}");
        }
    }

    #[test]
    fn what_tells_of_the_answer_stays() {
        for name in "
            content-type content-language content-disposition content-encoding etag last-modified
            cache-control expires vary date server link allow age via alt-svc set-cookie
            access-control-allow-origin access-control-expose-headers strict-transport-security x-content-type-options
            x-frame-options x-robots-tag x-accel-buffering cache-tag surrogate-key
            openai-model openai-version x-litellm-model-name x-litellm-model-group x-kong-llm-model ngrok-aig-model
            x-ms-served-model x-ms-deployment-name anthropic-version x-model x-model-version x-model-id x-sha
            x-amz-meta-title x-amz-version-id x-ms-version x-ms-blob-type x-goog-hash x-document-id x-assistant-id
            x-threads x-runs x-message x-message-count x-conversation-title x-chat-model x-task
            x-total-count x-total-pages x-sources x-confidence x-score x-version x-language x-title x-author
            x-created-time x-update-time x-time-zone x-served-by x-requested-with x-limit x-own x-tokenizer
        "
        .split_whitespace()
        {
            assert!(!tells(name), "{name}");
        }
    }

    proptest::proptest! {
        /// The answer is the same however a name is divided up before and behind the words that count.
        #[test]
        fn words_count_at_any_place(before in "[a-z]{1,8}", behind in "[a-z]{1,8}", at in 0..9_usize) {
            let words = "request-id ratelimit rate-limit latency cost trace-id session-id run-id thread-id";
            let word = words.split(' ').nth(at).expect("a word");
            for name in [format!("{before}-{word}"), format!("x-{before}-{word}-{behind}"), format!("{before}_{word}")] {
                proptest::prop_assert!(tells(&name), "{}", name);
            }
        }
    }
}
