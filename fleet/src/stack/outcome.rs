//! What an environment comes to.

use std::collections::BTreeMap;

use super::contents::Content;
use super::document::Document;
use super::parameters::Parameter;

/// Template, parameters and document of an environment.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) name: String,
    /// File name of the template.
    pub(crate) template: &'static str,
    /// The template.
    pub(crate) body: &'static str,
    /// What its parameters are where nobody says anything.
    pub(crate) defaults: BTreeMap<String, String>,
    pub(crate) parameters: Vec<Parameter>,
    /// What it consists of.
    pub(crate) contents: Vec<Content>,
    /// What would be uploaded.
    pub(crate) document: Document,
    pub(crate) user_data: String,
    /// Why a deployment in place would lose requests, if it would.
    pub(crate) obstacle: Option<String>,
}
