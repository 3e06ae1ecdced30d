//! Warns about steps whose files are run by root but can be changed by the user of their processes: an attacker who
//! takes over such a process becomes root with the next release.

use std::collections::BTreeMap;

use crate::address::Address;
use crate::document::Item;
use crate::document::error::Mistake;
use crate::step::Shapes;

pub(super) fn advise(items: &BTreeMap<Address, Item>, shapes: &Shapes<'_>, advice: &mut Vec<Mistake>) {
    for (item, shape) in items.values().zip(shapes.values()) {
        let Some((from, user)) = shape.trusts else { continue };
        let owner = shapes.get(from).and_then(|shape| shape.owner).filter(|owner| !matches!(*owner, "root" | "0"));
        let Some(owner) = owner.filter(|owner| user.is_none_or(|user| user == *owner)) else { continue };
        let message = format!("root runs the hooks of {from}, but its `owner` {owner} can change them, and the processes run as that user");
        let hint = match user {
            Some(_) => "remove `owner`, since builds run as `user` anyway, or set `hooks: false`".to_owned(),
            None => format!("write `user: {owner}` for the application and remove `owner`; or set `hooks: false`"),
        };
        advice.push(Mistake::at(&item.place, message, hint));
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::tests;

    fn advised(owner: &str, fields: &str) -> Vec<String> {
        tests::advised(&format!(
            "bundles: {{ app: {{ s3: s3://shop-releases/app.zip, into: /opt/shop{owner} }} }}\n\
             applications: {{ shop: {{ bundle: bundles.app{fields} }} }}"
        ))
    }

    #[test]
    fn hooks_that_the_processes_can_change_are_named() {
        let message = "root runs the hooks of bundles.app, but its `owner` shop can change them, and the processes run as that user";
        let hint = "remove `owner`, since builds run as `user` anyway, or set `hooks: false`";
        assert_eq!(advised(", owner: shop", ", user: shop"), [format!("{message} / {hint}")]);
        let hint = "write `user: shop` for the application and remove `owner`; or set `hooks: false`";
        assert_eq!(advised(", owner: shop", ""), [format!("{message} / {hint}")]);
        assert_eq!(advised(", owner: webapp", ", compatible_with: beanstalk").len(), 1);
        for (owner, fields) in [
            ("", ", user: shop"),
            (", owner: root", ""),
            (", owner: deploy", ", user: shop"),
            (", owner: shop", ", user: shop, hooks: false"),
            (", owner: shop", ", compatible_with: beanstalk"),
        ] {
            assert_eq!(advised(owner, fields), [""; 0], "{owner} {fields}");
        }
    }
}
