//! The laws: properties of every boot document, tested with every example in `tests/documents/`.
//!
//! | law | where |
//! |---|---|
//! | inspection changes nothing; a preview lists exactly the changes; afterwards nothing differs | [`inspection`] |
//! | a second boot changes nothing, a reboot only what a reboot loses; an image boots again | [`again`] |
//! | a boot that is killed at any step and restarted ends as if it had not been killed | [`killed`] |
//! | no secret appears in any log, event, report or error | [`secrecy`] |
//! | nothing is fetched twice, and what can be fetched together is | [`fetching`] |
//! | a failure stops only what depends on it, and says what to do | [`failures`], [`patience`] |
//! | each step gets one volume, whatever EC2 does; what is refused stays unchanged | [`volumes`], [`mounts`] |
//! | a release counts once it is complete, and what exists is not fetched again | [`bundles`] |
//! | each signal is sent once, without delay, and retried until it is accepted | [`signals`] |
//! | a success is only signaled if healthy, and a failure has its evidence first | [`healthy`], [`evidence`] |
//! | an address moves to an instance that serves, and to nothing else | [`addresses`] |
//! | in a warm pool, everything is prepared and nothing serves | [`phases`] |
//! | scripts see the variables of the release that serves, and installers are not root | [`scripts`] |
//! | a worker lets an application finish before the application is stopped | [`fed`] |
//! | the proxy leads to releases that serve, and failed or removed ones leave nothing behind | [`proxies`] |
//! | what is done once for a fleet is done by one instance, and then the others continue | [`claims`] |
//! | a worker gets the periodic tasks of the release that was fetched | [`periodic`] |
//! | a step that is not due leaves no trace, whatever its kind | [`due`] |
//! | a fleet has one database, and a wait ends with the first login | [`databases`] |
//! | Auto Scaling is asked to replace only applications that stay down | [`watched`] |
//! | the JSON Schema accepts what ingot accepts | [`schema`] |
//! | large documents and large fleets work | [`size`], [`fleet`] |
//!
//! A new example is tested automatically: [`example`] reads the directory. [`instance`] is the
//! machine on which it is booted.

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
