//! What an environment resolves to.

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
    /// The text of the template.
    pub(crate) body: &'static str,
    /// The template's defaults for its parameters.
    pub(crate) defaults: BTreeMap<String, String>,
    pub(crate) parameters: Vec<Parameter>,
    /// The resources that it consists of.
    pub(crate) contents: Vec<Content>,
    /// The document that would be uploaded.
    pub(crate) document: Document,
    pub(crate) user_data: String,
    /// Why a deployment in place would lose requests, if it would.
    pub(crate) obstacle: Option<String>,
}
