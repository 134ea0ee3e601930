//! Words that exclude each other. A text that has one of them, and a text that has another one, differ; a text that has none of
//! them says nothing.

use std::{collections::HashMap, sync::LazyLock};

use super::{
    reading::Reading,
    words::{in_lines, stem},
};

/// Each line is a group, `|` divides its sides, and each side has its words.
const GROUPS: &[&str] = &[
    "enable activate | disable deactivate",
    "before prior beforehand | after afterwards following",
    "increase raise boost grow higher | decrease reduce lower decline shrink cut",
    "open reopen | close shut",
    "add append adding addition | remove delete subtract removal subtraction",
    "start begin launch | stop end finish quit halt",
    "allow permit | deny forbid prohibit disallow prevent block",
    "buy purchase | sell sale",
    "send sent | receive receipt",
    "deposit | withdraw withdrew withdrawn withdrawal",
    "import importing | export exporting",
    "lock | unlock",
    "min minimum smallest minimal | max maximum largest maximal biggest",
    "least lowest fewest | most highest",
    "last final | first initial",
    "above over | below beneath under",
    "more greater bigger larger | less fewer smaller",
    "accept approve agree | reject decline refuse deny",
    "subscribe | unsubscribe",
    "encrypt encryption | decrypt decryption",
    "upload | download",
    "connect | disconnect",
    "install | uninstall",
    "attach | detach",
    "assign | unassign",
    "mount | unmount",
    "freeze | unfreeze",
    "zip compress | unzip decompress extract",
    "expand | collapse contract",
    "show display reveal | hide hidden hid",
    "push | pull",
    "read | write",
    "get | put",
    "get | post",
    "encode | decode",
    "serialize | deserialize",
    "inner internal inside interior | outer external outside exterior",
    "inbound incoming | outbound outgoing",
    "input | output",
    "left | right",
    "north northern | south southern | east eastern | west western",
    "win won | lose lost",
    "pass passed | fail failed failure",
    "success succeed successful | fail failure failed",
    "safe | dangerous unsafe",
    "legal lawful | illegal unlawful",
    "public | private",
    "male man men boy | female woman women girl",
    "mother mom | father dad",
    "husband | wife",
    "son | daughter",
    "brother | sister",
    "hot warm | cold cool",
    "heat | cool",
    "early earlier earliest | late later latest",
    "old older oldest | new newer newest",
    "old elderly older | young younger",
    "fast faster quick quickly fastest | slow slower slowly slowest",
    "high | low",
    "long longer longest | short shorter shortest",
    "tall taller tallest | short shorter shortest",
    "wide wider | narrow narrower",
    "thick thicker | thin thinner",
    "deep deeper | shallow",
    "heavy heavier heaviest | light lighter lightest",
    "strong stronger strongest | weak weaker weakest",
    "hard harder hardest difficult | easy easier easiest",
    "cheap cheaper cheapest | expensive costly",
    "rich | poor",
    "good | bad",
    "better | worse",
    "best | worst",
    "advantage pros pro benefit upside | disadvantage cons con drawback downside",
    "positive | negative",
    "even | odd",
    "full | empty",
    "fill | empty drain",
    "asset | liability",
    "debit | credit",
    "profit gain | loss",
    "income revenue | expense",
    "borrow | lend",
    "import | export",
    "employer | employee",
    "landlord | tenant",
    "teacher | student",
    "buyer | seller",
    "sender | recipient receiver",
    "client | server",
    "parent | child",
    "ancestor | descendant",
    "always | never",
    "all every everything everyone | none nothing nobody",
    "everyone everybody | nobody",
    "include included including | exclude excluded excluding exclusion",
    "mandatory required compulsory | optional",
    "horizontal horizontally row | vertical vertically column",
    "ascending ascend | descending descend",
    "top | bottom",
    "front | back rear",
    "forward forwards | backward backwards",
    "clockwise | counterclockwise anticlockwise",
    "arrive arrival | depart departure leave",
    "enter entry | exit",
    "check-in checkin | checkout",
    "attack | defend defense",
    "support favor favour | oppose",
    "landline | mobile",
    "quiet | loud noisy",
    "agree | disagree",
    "appear | disappear",
    "appreciate | depreciate",
    "inflate inflation | deflate deflation",
    "accelerate | decelerate brake",
    "upgrade | downgrade",
    "upstream | downstream",
    "upstairs | downstairs",
    "uphill | downhill",
    "upward upwards | downward downwards",
    "promote promotion | demote demotion",
    "hire | fire",
    "love like | hate dislike",
    "remember | forget",
    "build create | destroy",
    "encourage | discourage",
    "strengthen | weaken",
    "tighten | loosen",
    "widen | narrow",
    "lengthen | shorten",
    "freeze | thaw melt boil",
    "melt | freeze solidify",
    "evaporate | condense",
    "multiply | divide",
    "multiplication | division",
    "numerator | denominator",
    "sum addition | difference subtraction",
    "ceiling ceil | floor",
    "synonym | antonym",
    "singular | plural",
    "active | passive",
    "past | future | present",
    "synchronous sync | asynchronous async",
    "stateful | stateless",
    "mutable | immutable",
    "static | dynamic",
    "virtual online | physical offline",
    "online | offline",
    "manual manually | automatic automatically",
    "temporary temporarily | permanent permanently",
    "wet humid moist | dry",
    "clean | dirty",
    "raw | cooked",
    "sweet | sour bitter salty",
    "white | black | red | green | blue | yellow | orange | purple | brown | pink | grey gray",
    "cat | dog",
    "breakfast | lunch | dinner",
    "morning | afternoon | evening | night",
    "spring | summer | autumn fall | winter",
    "hourly | daily | weekly | monthly | quarterly | yearly annual annually",
    "sunrise dawn | sunset dusk",
    "today | yesterday | tomorrow",
    "indoor indoors | outdoor outdoors",
    "urban | rural",
    "domestic | foreign international",
    "local locally | remote remotely global globally",
    "merge combine join | split separate",
    "commit | rollback revert",
    "undo | redo",
    "mute | unmute",
    "pin | unpin",
    "follow | unfollow",
    "pause | resume",
    "play | pause",
    "rise | fall drop",
    "bullish | bearish",
    "long | short",
    "call | put",
    "gross | net",
    "fixed | variable",
    "simple | compound",
    "primary | secondary",
    "major | minor",
    "absolute | relative",
    "odd | even",
    "inclusive | exclusive",
    "wholesale | retail",
    "acid acidic | alkaline base basic",
    "solid | liquid | gas",
    "proton | electron | neutron",
    "artery | vein",
    "cause | cure prevent",
    "gain | lose",
    "inhale | exhale",
    "latitude | longitude",
    "next upcoming | previous last",
    "rent | buy",
    "lease | buy",
    "marry marriage | divorce",
    "born birth | died death die",
    "winner | loser",
    "guilty | innocent",
    "plaintiff | defendant",
    "lawyer | judge",
    "doctor | nurse",
    "question | answer",
    "problem | solution",
    "theory | practice",
    "quantity | quality",
    "overweight | underweight",
    "overestimate | underestimate",
    "overcook | undercook",
    "oversleep | insomnia",
    "hyper hypertension hyperthyroidism hyperglycemia | hypo hypotension hypothyroidism hypoglycemia",
    "introvert | extrovert",
    "optimist | pessimist",
    "macro | micro",
    "maximize maximise | minimize minimise",
    "true | false",
    "known | unknown",
    "vegan vegetarian | meat",
    "with | without",
    "inc | dec",
    "increment | decrement",
    "lowercase | uppercase",
    "prepend | append",
    "first-class | economy | business",
    // German
    "aktivieren einschalten anschalten | deaktivieren ausschalten abschalten",
    "öffnen | schließen",
    "kaufen | verkaufen",
    "vor vorher | nach nachher danach",
    "mit | ohne",
    "erhöhen steigern | senken verringern reduzieren",
    "mehr | weniger",
    "hinzufügen | entfernen löschen",
    "starten beginnen | stoppen beenden",
    "erlauben | verbieten",
    "senden | empfangen",
    "sperren | entsperren",
    "oben | unten",
    "links | rechts",
    "immer | nie",
    "groß größer | klein kleiner",
    "billig | teuer",
    "hochladen | herunterladen",
    "einzahlen | abheben",
    "anmelden | abmelden",
    "abonnieren | kündigen",
    // French
    "activer | désactiver",
    "ouvrir | fermer",
    "acheter | vendre",
    "avant | après",
    "avec | sans",
    "augmenter | diminuer réduire baisser",
    "plus | moins",
    "ajouter | supprimer enlever retirer",
    "commencer démarrer | arrêter finir",
    "autoriser permettre | interdire",
    "envoyer | recevoir",
    "gauche | droite",
    "toujours | jamais",
    "monter | descendre",
    "entrer | sortir",
    "bloquer | débloquer",
    "verrouiller | déverrouiller",
    // Spanish
    "activar | desactivar",
    "abrir | cerrar",
    "comprar | vender",
    "antes | después",
    "aumentar | reducir disminuir",
    "más | menos",
    "añadir agregar | eliminar quitar",
    "empezar iniciar | parar detener terminar",
    "permitir | prohibir",
    "enviar | recibir",
    "izquierda | derecha",
    "siempre | nunca",
    "subir | bajar",
    "entrar | salir",
    "bloquear | desbloquear",
    // Portuguese, Italian, Dutch
    "ativar | desativar",
    "abrir | fechar",
    "antes | depois",
    "mais | menos",
    "adicionar | remover",
    "enviar | receber",
    "esquerda | direita",
    "attivare | disattivare",
    "aprire | chiudere",
    "comprare | vendere",
    "prima | dopo",
    "più | meno",
    "aggiungere | rimuovere",
    "aumentare | diminuire",
    "sinistra | destra",
    "inschakelen | uitschakelen",
    "openen | sluiten",
    "kopen | verkopen",
    "voor | na",
    "meer | minder",
    "toevoegen | verwijderen",
];

/// Verbs that a little word turns round: `turn on`, `log out`. First the verbs, then the two sides.
const PARTICLES: &[(&str, &str, &str)] = &[
    ("turn switch power toggle flip leave keep toggled put", "on", "off"),
    ("log sign check opt zoom clock punch phase fade move buy break lock cash stay ease", "in", "out"),
    ("log sign", "on", "off"),
    ("log", "in", "off"),
    (
        "go come turn scroll scale move ramp speed slow round swipe roll walk climb run size ticket vote page volume look is are was count",
        "up",
        "down",
    ),
    ("put take", "on", "off"),
    ("get", "in", "out"),
    ("get", "on", "off"),
    ("plug", "in", "out"),
];

/// How far a little word may be from its verb: `turn the kitchen lights off`.
const REACH: usize = 4;

/// A side of a group: its number in the table.
pub(super) type Pole = u16;

/// Sides in one group have numbers that are alike but for the last digit.
pub(super) const SIDES: u16 = 16;

static SIDES_OF: LazyLock<HashMap<String, Vec<Pole>>> = LazyLock::new(|| {
    let mut sides: HashMap<String, Vec<Pole>> = HashMap::new();
    for (group, line) in (0_u16..).zip(GROUPS) {
        for (side, words) in (0_u16..).zip(line.split(" | ")) {
            for word in words.split(' ') {
                sides.entry(stem(word)).or_default().push(group * SIDES + side);
            }
        }
    }
    sides
});

/// The sides that a text takes.
pub(super) fn find(reading: &Reading) -> Vec<Pole> {
    let mut found = Vec::new();
    for (at, token) in reading.tokens.iter().enumerate() {
        found.extend(SIDES_OF.get(&token.stem).into_iter().flatten().filter(|_| !is_idle(reading, at)));
        let groups = usize_to_pole(GROUPS.len());
        for (number, (verbs, one, other)) in (groups..).zip(PARTICLES) {
            let side = if token.lower == *one { 0 } else { 1 };
            let is_side = token.lower == *one || token.lower == *other;
            if is_side
                && reading
                    .clause_before(at)
                    .take(REACH)
                    .any(|before| verbs.split(' ').any(|verb| stem(verb) == before.stem))
            {
                found.push(number * SIDES + side);
            }
        }
    }
    found
}

fn usize_to_pole(count: usize) -> Pole {
    Pole::try_from(count).unwrap_or(Pole::MAX)
}

/// Words that mean too much to take a side.
const NEVER: &[&str] = &["back even still light lights present base based kind"];

/// Words that take no side behind one of the others.
const NOT_BEHIND: &[(&str, &str)] = &[
    ("like", "would i'd look looks feel is something things what's it's sound sounds d"),
    ("most", "at"),
    ("least", "at"),
    ("all", "at"),
    ("long", "how as"),
    ("left", "i have is are money days time much"),
];

/// Words that take no side before one of the others.
const NOT_BEFORE: &[(&str, &str)] = &[
    ("over", "the there here"),
    ("right", "now away"),
    ("fall", "for under into"),
    ("fell", "for under into"),
    ("falls", "for under into"),
];

/// Whether a word takes no side where it is.
fn is_idle(reading: &Reading, at: usize) -> bool {
    let token = &reading.tokens[at];
    let next = reading.tokens.get(at + 1).map(|next| &*next.lower);
    let before = at.checked_sub(1).and_then(|before| reading.tokens.get(before)).map(|before| &*before.lower);
    let is_beside = |table: &[(&str, &str)], other: Option<&str>| {
        table
            .iter()
            .any(|(own, others)| *own == token.lower && other.is_some_and(|other| in_lines(&[others], other)))
    };
    match &*token.lower {
        // Methods of HTTP and of code.
        "put" | "post" | "get" | "got" => {
            reading.code.is_empty() && token.raw.chars().any(char::is_lowercase)
        }
        // `the right card`, but `on the right`.
        "right" if before == Some("the") && next.is_some() && !token.ends_clause => true,
        word => in_lines(NEVER, word) || is_beside(NOT_BEHIND, before) || is_beside(NOT_BEFORE, next),
    }
}
