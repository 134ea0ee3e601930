//! Presets: the routes of services that people run, as data in the language of the file.
//!
//! They are files in `config/presets/`, compiled in, so that they can be read, copied and changed.

use std::{path::Path, sync::OnceLock};

use http::Method;

use super::{
    error::Faults,
    file,
    quote::quote,
    routes::{self, Common},
    suggest::{closest, did_you_mean},
    value::{Format, join, refuse_repeats},
};
use crate::cache::route::{Route, Scope, kind::KindTtls, pattern::Pattern};

/// A preset.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Preset {
    pub(crate) name: &'static str,
    /// What its routes are by.
    given_by: &'static str,
    /// The text of its file, comments included.
    pub(crate) text: &'static str,
}

macro_rules! presets {
    ($($name:literal),* $(,)?) => {
        /// Every preset, sorted by name.
        pub(crate) static PRESETS: &[Preset] = &[$(Preset {
            name: $name,
            given_by: concat!("preset ", $name),
            text: include_str!(concat!("../../config/presets/", $name, ".toml")),
        },)*];
    };
}

presets![
    "agno",
    "anythingllm",
    "dify",
    "flowise",
    "hayhooks",
    "infinity",
    "langflow",
    "langgraph",
    "langserve",
    "lightrag",
    "litellm",
    "llama-cpp",
    "onyx",
    "open-webui",
    "privategpt",
    "r2r",
    "ragflow",
    "tei",
    "txtai",
    "vllm",
];

/// The names of presets.
pub(super) const NAMES: Format<Vec<&'static Preset>> = Format {
    parse: |value| {
        let names = value.texts("a list of presets")?;
        let named = names.iter().map(|name| preset(name)).collect::<Result<_, _>>()?;
        refuse_repeats(&names).map(|()| named)
    },
    show: |presets| join(presets.iter().map(|preset| preset.name)),
};

/// The preset with this name.
///
/// # Errors
/// If no preset has this name. The text is for the operator.
pub(crate) fn preset(name: &str) -> Result<&'static Preset, String> {
    let known = || PRESETS.iter().map(|preset| preset.name);
    PRESETS.iter().find(|preset| preset.name == name).ok_or_else(|| {
        let hint = did_you_mean(closest(name, known()));
        format!("{} is no preset{hint}; `sidecache presets` lists them", quote(name))
    })
}

impl Preset {
    /// What it is for: the first line of its file.
    pub(crate) fn about(&self) -> &'static str {
        self.text.lines().next().unwrap_or_default().trim_start_matches("# ")
    }

    /// Those of its routes that cache, with every setting at its default.
    fn known_routes(&self) -> Vec<KnownRoute> {
        let common =
            Common { ttls: KindTtls::default(), scope: Scope::Credential, ignore_headers: Vec::new() };
        let routes = self.routes(&common, &mut Faults::default()).into_iter().filter(|route| route.cache);
        routes.map(|route| KnownRoute { preset: self.name, pattern: route.pattern }).collect()
    }

    /// Its routes. `common` has the settings that apply to all.
    pub(super) fn routes(&self, common: &Common, faults: &mut Faults) -> Vec<Route> {
        let path = format!("config/presets/{}.toml", self.name);
        let Some(file) = file::read(Path::new(&path), self.text, faults) else { return Vec::new() };
        let mut routes = routes::read(Path::new(&path), &file.routes, &[], Some(common), faults);
        routes.iter_mut().for_each(|route| route.given_by = Some(self.given_by));
        routes
    }
}

/// A route of a preset that caches.
struct KnownRoute {
    preset: &'static str,
    pattern: Pattern,
}

/// The routes of all presets that cache. They are parsed at the first look: most processes never need them.
fn known() -> &'static [KnownRoute] {
    static KNOWN: OnceLock<Vec<KnownRoute>> = OnceLock::new();
    KNOWN.get_or_init(|| PRESETS.iter().flat_map(Preset::known_routes).collect())
}

/// The presets with a route that caches requests like this one, and the patterns of these routes. Those that name the
/// very path come first.
pub(crate) fn covering(method: &Method, path: &str) -> Vec<(&'static str, &'static str)> {
    let mut fitting: Vec<_> = known().iter().filter(|route| route.pattern.matches(method, path)).collect();
    fitting.sort_by_key(|route| !route.pattern.is_one_path());
    let mut covering: Vec<(&str, &str)> = Vec::new();
    for route in fitting {
        if covering.iter().all(|(preset, _)| *preset != route.preset) {
            covering.push((route.preset, route.pattern.as_str()));
        }
    }
    covering
}

/// The paths of each preset that a service is known by: the patterns without `**` of the routes that cache, each once.
pub(crate) fn preset_paths() -> Vec<(&'static str, Vec<&'static str>)> {
    let paths = |preset: &'static Preset| {
        let mut paths: Vec<&'static str> = Vec::new();
        let known =
            known().iter().filter(|route| route.preset == preset.name).map(|route| route.pattern.as_str());
        for path in known.filter(|path| !path.contains("**")) {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        (preset.name, paths)
    };
    PRESETS.iter().map(paths).collect()
}

/// The routes of `presets`. A route of the file that has the name of one of these replaces it.
pub(super) fn routes(
    presets: &[&Preset],
    own: &[Route],
    common: Option<&Common>,
    faults: &mut Faults,
) -> Vec<Route> {
    let Some(common) = common else { return Vec::new() };
    let mut routes: Vec<_> = presets.iter().flat_map(|preset| preset.routes(common, faults)).collect();
    routes.retain(|route| own.iter().all(|own| own.name != route.name));
    routes
}
