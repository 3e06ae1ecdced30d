//! What a hint has to be: something that can be done.

/// How a hint begins.
const ORDERS: [&str; 26] = [
    "add ",
    "begin ",
    "change ",
    "close ",
    "correct ",
    "define ",
    "did you mean ",
    "give ",
    "install ",
    "keep ",
    "expected one of: ",
    "look at ",
    "lower ",
    "make ",
    "move ",
    "put ",
    "raise ",
    "remove ",
    "save ",
    "set ",
    "shorten ",
    "split ",
    "store ",
    "take ",
    "use ",
    "write ",
];

/// Whether a hint is an order, and a fragment as the house has them.
pub(crate) fn is_order(hint: &str) -> bool {
    ORDERS.iter().any(|order| hint.starts_with(order)) && !hint.ends_with('.')
}
