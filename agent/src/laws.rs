//! The laws: what holds for every boot document, tried on every example in `tests/documents/`.
//!
//! | law | where |
//! |---|---|
//! | inspect changes nothing; a preview names exactly the changes that are made; afterwards nothing is left | [`inspection`] |
//! | a second boot changes nothing, a reboot only what a reboot loses; an image boots again | [`again`] |
//! | killed at any step and started again, a boot ends as if it had not been killed | [`killed`] |
//! | no secret appears in any log, event, report or error | [`secrecy`] |
//! | nothing is fetched twice, and what can be is fetched together | [`fetching`] |
//! | a failure stops only what depends on it, and says what to do | [`failures`], [`patience`] |
//! | one volume for each step, whatever EC2 does; what is refused stays as it was | [`volumes`], [`mounts`] |
//! | a release counts when it is whole, and what is there is not asked for again | [`bundles`] |
//! | whoever waits hears of it once, at once, and until they have taken it | [`signals`] |
//! | a success is told of what is healthy, and of a failure there is evidence first | [`healthy`], [`evidence`] |
//! | an address moves to what serves, and to nothing else | [`addresses`] |
//! | a warm pool gets what is prepared, and nothing that serves | [`phases`] |
//! | scripts find the variables of what serves, and installers are not root | [`scripts`] |
//! | a worker lets an application finish before that is stopped | [`fed`] |
//! | the proxy leads where releases are, and what failed or went leaves nothing of itself | [`proxies`] |
//! | what is done once for a fleet is done on one instance, and the others go on after it | [`claims`] |
//! | a worker gets the periodic tasks of the release that was fetched | [`periodic`] |
//! | a step that is not due leaves no trace, whatever its kind | [`due`] |
//! | one database for a fleet, and a wait that ends with the first login | [`databases`] |
//! | Auto Scaling is asked to replace what stays down, and nothing else | [`watched`] |
//! | the JSON Schema takes what ingot takes | [`schema`] |
//! | a large document is not a trouble, nor a large fleet | [`size`], [`fleet`] |
//!
//! An example is tried by being there: [`example`] reads the directory. [`instance`] is what it is booted on.

mod addresses;
mod again;
mod applications;
mod bundles;
mod claims;
mod databases;
mod due;
mod evidence;
mod example;
mod failures;
mod fed;
mod fetching;
mod fleet;
mod healthy;
mod inspection;
mod instance;
mod invented;
mod killed;
mod mounts;
mod patience;
mod periodic;
mod phases;
mod proxies;
mod reading;
mod schema;
mod scripts;
mod secrecy;
mod services;
mod signals;
mod size;
mod transcript;
mod volumes;
mod watched;
