//! Documents for when there are none: sidecache, told in four.

use super::documents::Document;
use super::text;

const DOCUMENTS: &[(&str, &str)] = &[
    (
        "caching",
        "# What is cached\n\
        sidecache answers repeated questions from its store and forwards the rest to the service behind it.\n\
        ## Kinds\n\
        A question and its answer are of the kind query and live for 30 minutes. Embeddings live for 24 hours, one \
        entry for each input text. Documents live for an hour, conversations for 30 minutes.\n\
        ## Keys\n\
        The key of an entry is a BLAKE3 digest of the normalised request. Member order and white space in a JSON body \
        do not count, everything else does. Callers with different credentials never share an entry, unless the route \
        says that its scope is shared.\n\
        ## Invalidation\n\
        A successful change to a document retires every answer that has it among its sources. An operator can purge \
        entries by key, kind, tag or pattern.\n",
    ),
    (
        "streams",
        "# Streams\n\
        A streamed answer passes through event by event and is recorded on the way.\n\
        ## Replay\n\
        A hit on a recorded stream replays it. A question once answered as a stream also answers the same question \
        asked without a stream, and the other way round.\n\
        ## Coalescing\n\
        While one request is being answered, the same request from others joins it. The upstream is asked once, and a \
        caller who leaves does not stop the others.\n",
    ),
    (
        "store",
        "# The store\n\
        Entries are kept in process, bounded by bytes, or in Redis.\n\
        ## Redis\n\
        With Redis, several replicas share their entries, and each keeps the most wanted ones in process too. Every \
        entry is written with its time to live.\n\
        ## Failure\n\
        The store can never hurt. When Redis is down, hangs or holds rubbish, requests go on to the upstream, and no \
        request waits longer than 50 ms for the store.\n",
    ),
    (
        "running",
        "# Running it\n\
        sidecache is one binary, put beside the service. Clients change only their base URL.\n\
        ## Configuration\n\
        Settings come from flags, the environment, a .env file and a TOML file, in this order of strength. An unknown \
        key stops the start, with a suggestion where one is near.\n\
        ## Health and logs\n\
        The health page tells hits, misses and the hit rate. Logs are JSON, one object a line, and never hold prompts, \
        answers or credentials.\n",
    ),
];

/// A few short documents about sidecache.
#[allow(dead_code, reason = "not every program that includes this module needs them")]
pub(crate) fn builtin_docs() -> Vec<Document> {
    let document = |&(id, text): &(&str, &str)| Document {
        id: id.to_owned(),
        title: text::title(text).unwrap_or(id).to_owned(),
        text: text.to_owned(),
    };
    DOCUMENTS.iter().map(document).collect()
}
