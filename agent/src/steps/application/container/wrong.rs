//! What can be wrong with `image:`, checked before anything is contacted.

use super::reference::Reference;
use crate::failure::Objection;
use crate::steps::application::environment::is_secret;
use crate::steps::application::fields::Application;
use crate::text::{Text, shown_on_a_line};

impl Application {
    /// An application runs either a bundle or an image.
    pub(in crate::steps::application) fn wrong_release(&self) -> Vec<Objection> {
        let one = "name one of the two, as in `bundle: bundles.app` or `image: REGISTRY/REPOSITORY:TAG`";
        let mut found = Vec::new();
        match (&self.bundle, &self.image) {
            (None, None) => found.push(Objection::new("nothing names what runs: `bundle` or `image`", one)),
            (Some(_), Some(_)) => found.push(Objection::new("both `bundle` and `image` name what runs", one)),
            (Some(bundle), None) if bundle.kind() != "bundles" => {
                let message = format!("the release of an application comes from a bundle, and {bundle} is not one");
                found.push(Objection::new(message, "name a step of `bundles:`, as in `bundle: bundles.app`"));
            }
            (Some(_), None) => {}
            (None, Some(image)) => found.extend(self.wrong_image(image)),
        }
        found
    }

    fn wrong_image(&self, image: &Text) -> Vec<Objection> {
        let mut found = Vec::new();
        if is_secret(image) {
            found.push(Objection::new("the name of an image is printed, and this one holds a secret", "name the image by plain values"));
        } else if image.is_plain()
            && let Err(why) = Reference::parse(image.raw())
        {
            let hint = "write `REGISTRY/REPOSITORY:TAG`, or `REGISTRY/REPOSITORY@sha256:DIGEST`";
            found.push(Objection::new(format!("`{}` {why}", shown_on_a_line(image.raw())), hint));
        }
        if !self.build.is_empty() {
            found.push(Objection::new("an image is not built on the machine that runs it", "remove `build`"));
        }
        if self.proxy.has_static() {
            let hint = "have the container serve its files, or put them on the machine by a bundle of their own";
            found.push(Objection::new("`proxy.static` serves directories of a release, and an image has none", hint));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn said(fields: Value) -> Vec<String> {
        let application: Application = serde_json::from_value(fields).unwrap();
        application.wrong_release().into_iter().map(|objection| objection.message).collect()
    }

    #[test]
    fn exactly_one_of_bundle_and_image_is_named() {
        assert_eq!(said(json!({})), ["nothing names what runs: `bundle` or `image`"]);
        assert_eq!(said(json!({"bundle": "bundles.app", "image": "shop"})), ["both `bundle` and `image` name what runs"]);
        assert_eq!(said(json!({"image": "registry.example/shop:{{values.version}}"})), [""; 0]);
        assert_eq!(said(json!({"bundle": "bundles.app"})), [""; 0]);
    }

    #[test]
    fn what_belongs_to_a_release_is_refused_beside_an_image() {
        let image = json!({"image": "Shop:1", "build": [["make"]], "proxy": {"static": {"/assets": "public"}}});
        insta::assert_snapshot!(said(image).join("\n"), @r"
        `Shop:1` is not the name of an image: write `registry/repository:tag`, the repository in lower case
        an image is not built on the machine that runs it
        `proxy.static` serves directories of a release, and an image has none
        ");
        assert!(said(json!({"image": "shop:{{secrets.db.tag}}"}))[0].contains("holds a secret"));
    }
}
