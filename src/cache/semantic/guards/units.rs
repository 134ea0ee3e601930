//! Units of measure and currencies.

use super::reading::Reading;

/// The units, each with its names in one line. The first one is its own name. A unit after a `!` counts only behind a number.
const UNITS: &[&str] = &[
    "km kilometer kilometers kilometre kilometres kilometro kilómetros kilomètres",
    "mile miles mi mph",
    "meter meters metre metres metros mètres !m",
    "cm centimeter centimeters centimetre centimetres",
    "mm millimeter millimeters millimetre millimetres",
    "foot feet ft",
    "inch inches zoll !in",
    "yard yards yd",
    "kg kilo kilos kilogram kilograms kilogramm kilogramme",
    "gram grams gramm grammes gramme !g",
    "mg milligram milligrams",
    "mcg microgram micrograms",
    "pound pounds lb lbs gbp quid sterling",
    "ounce ounces oz",
    "!stone",
    "ton tons tonne tonnes",
    "liter liters litre litres !l",
    "ml milliliter milliliters millilitre millilitres",
    "gallon gallons gal",
    "cup cups",
    "tablespoon tablespoons tbsp",
    "teaspoon teaspoons tsp",
    "pint pints",
    "celsius centigrade !c",
    "fahrenheit !f",
    "kelvin",
    "second seconds sec secs sekunde sekunden seconde secondes segundo segundos !s",
    "minute minutes min mins minuten minutos minuti",
    "hour hours hr hrs stunde stunden heure heures hora horas ore !h",
    "day days tag tage tagen jour jours día días dia dias giorno giorni !d",
    "week weeks wk woche wochen semaine semaines semana semanas settimana settimane",
    "month months monat monate monaten mois mes meses mese mesi",
    "year years yr yrs jahr jahre jahren an ans année années año años ano anos anno anni !y",
    "decade decades",
    "ms millisecond milliseconds",
    "percent pct prozent percentage !%",
    "basis-point bps bp",
    "dollar dollars usd bucks $",
    "cad",
    "aud",
    "nzd",
    "sgd",
    "hkd",
    "euro euros eur €",
    "yen jpy",
    "franc francs chf",
    "rupee rupees inr",
    "peso pesos mxn",
    "yuan cny rmb renminbi",
    "won krw",
    "rouble roubles rubles ruble rub",
    "krona kronor sek",
    "nok",
    "dkk",
    "zloty pln",
    "try lira",
    "bitcoin btc bitcoins",
    "ether eth ethereum",
    "cent cents !¢",
    "kb kilobyte kilobytes kib",
    "mb megabyte megabytes mib",
    "gb gigabyte gigabytes gib gigs gig",
    "tb terabyte terabytes tib",
    "byte bytes",
    "bit bits",
    "mbps",
    "gbps",
    "kbps",
    "watt watts !w",
    "kw kilowatt kilowatts",
    "mw megawatt megawatts",
    "kwh",
    "mwh",
    "volt volts !v",
    "amp amps ampere amperes",
    "hz hertz",
    "khz kilohertz",
    "mhz megahertz",
    "ghz gigahertz",
    "calorie calories kcal cal",
    "joule joules",
    "kj kilojoule kilojoules",
    "bar",
    "psi",
    "pascal pascals",
    "acre acres",
    "hectare hectares",
    "sqft",
    "sqm",
    "knot knots",
    "kmh kph",
    "degree degrees grad",
    "radian radians",
    "pixel pixels px",
    "rem",
    "em",
];

/// Units of time, and words that are units only where they are counted.
const ONLY_COUNTED: &[&str] = &[
    "second", "minute", "hour", "day", "week", "month", "year", "decade", "cup", "foot", "yard", "bar",
    "bit", "em", "rem", "won", "try lira", "pound", "cent", "mile", "degree", "kg", "ton", "watt", "amp",
    "knot", "ether", "percent", "sek", "pixel",
];

/// Units that count without a number too: what these texts are about is measured in them.
fn counts_alone(line: &str) -> bool {
    let name = line.split(' ').next().unwrap_or_default();
    !ONLY_COUNTED.iter().any(|own| *own == line || *own == name)
        || matches!(name, "mile" | "kg" | "pound" | "percent")
}

/// The line of the unit that a word behind a number names.
fn line_of(word: &str) -> Option<&'static str> {
    let names = |line: &&&str| line.split(' ').any(|name| name.trim_start_matches('!') == word);
    UNITS.iter().find(names).copied()
}

pub(super) fn is_unit(word: &str) -> bool {
    line_of(word).is_some()
}

/// The units that a text names, each by its first name.
pub(super) fn find(reading: &Reading) -> Vec<&'static str> {
    let mut found = Vec::new();
    for (at, token) in reading.tokens.iter().enumerate() {
        let Some(line) = line_of(&token.lower) else { continue };
        let before = at.checked_sub(1).and_then(|before| reading.tokens.get(before));
        let is_counted = before.is_some_and(|before| {
            before.is_number || (before.lower == "in" && token.lower.len() > 3 && token.lower.ends_with('s'))
        });
        let is_sure = !line.split(' ').any(|name| name.strip_prefix('!') == Some(&*token.lower));
        // `an` and `mes` are words of other languages.
        let is_word = matches!(
            &*token.lower,
            "an" | "mes" | "ore" | "try" | "tag" | "min" | "won" | "rub" | "cal" | "gal" | "bar"
        );
        if is_counted || (is_sure && !is_word && counts_alone(line)) {
            found.push(line.split(' ').next().unwrap_or_default());
        }
    }
    found
}
