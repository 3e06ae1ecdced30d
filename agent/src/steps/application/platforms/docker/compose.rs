//! Extracts from a compose file which images are pulled and which are built. Pure.

use crate::steps::application::ebextensions::yaml::{self, Node, Value};

/// The images that the services of a compose file run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Services {
    /// The images that are pulled.
    pub(super) images: Vec<String>,
    /// The services whose images are built.
    pub(super) built: Vec<String>,
}

/// Empty for a text that is not YAML: compose itself reports the error.
pub(super) fn services(text: &str) -> Services {
    let mut found = Services::default();
    let root = yaml::parse(text).ok().and_then(|parsed| parsed.root);
    for (name, service) in root.iter().filter_map(|root| entry(root, "services")).flat_map(entries) {
        match (entry(service, "build"), entry(service, "image").map(|image| &image.value)) {
            (Some(_), _) => found.built.push(name.to_owned()),
            (None, Some(Value::Scalar(image))) => found.images.push(image.clone()),
            (None, _) => {}
        }
    }
    found
}

fn entries(node: &Node) -> impl Iterator<Item = (&str, &Node)> {
    let entries = match &node.value {
        Value::Map(entries) => entries.as_slice(),
        Value::Scalar(_) | Value::List(_) => &[],
    };
    entries.iter().map(|entry| (entry.key.as_str(), &entry.node))
}

fn entry<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    entries(node).find(|(name, _)| *name == key).map(|(_, node)| node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_told_from_what_is_pulled() {
        let found =
            services("services:\n  web: { build: ., image: shop }\n  db:\n    image: 'postgres:16' # as in production\n  none: {}\n");
        assert_eq!(found, Services { images: vec!["postgres:16".into()], built: vec!["web".into()] });
        assert_eq!(services("services: ["), Services::default());
        assert_eq!(services("- a"), Services::default());
    }
}
