//! The freeze of an environment, stored as an object next to its deployment records.

use super::objects::{Condition, Object, Objects, Put};
use crate::deployment::freeze::Freeze;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::place::Place;

/// The freeze object of one environment.
#[derive(Debug)]
pub(crate) struct Freezes<'a, O> {
    objects: &'a O,
    place: &'a Place,
    environment: &'a str,
}

impl<'a, O: Objects> Freezes<'a, O> {
    pub(crate) fn new(objects: &'a O, place: &'a Place, environment: &'a str) -> Self {
        Self { objects, place, environment }
    }

    /// Returns the freeze in force, if any.
    pub(crate) async fn in_force(&self) -> Result<Option<Freeze>, Failure> {
        Ok(self.read().await?.map(|(freeze, _)| freeze).filter(|freeze| freeze.is_frozen))
    }

    /// Replaces the current freeze.
    pub(crate) async fn write(&self, freeze: &Freeze) -> Result<(), Failure> {
        let before = self.read().await?;
        let condition = before.as_ref().map_or(Condition::Absent, |(_, etag)| Condition::Unchanged(etag));
        match self.objects.put(&self.key(), freeze.write(), condition).await? {
            Put::Done { .. } => Ok(()),
            // An earlier attempt may have succeeded and its answer been lost.
            Put::Refused if self.read().await?.is_some_and(|(found, _)| found == *freeze) => Ok(()),
            Put::Refused => Err(Failure::new(Exit::Failed, format!("cannot change whether {} is frozen", self.environment))
                .why("another operator changed it at the same time")
                .hint(format!("check `ingot-fleet status {}`, then run the same command again", self.environment))),
        }
    }

    async fn read(&self) -> Result<Option<(Freeze, String)>, Failure> {
        let Some(Object { content, etag }) = self.objects.get(&self.key()).await? else { return Ok(None) };
        match Freeze::read(&content) {
            Some(freeze) => Ok(Some((freeze, etag))),
            None => Err(Failure::new(Exit::Failed, format!("cannot tell whether {} is frozen", self.environment))
                .why(format!("{} is not in the format of this ingot-fleet", self.place.url(&self.key())))
                .hint("update ingot-fleet, or restore the previous version of the object")),
        }
    }

    fn key(&self) -> String {
        format!("{}{}/deployments/freeze.json", self.place.environments(), self.environment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::fake::{Directory, Fault};
    use crate::aws::records::Records;

    fn on(by: &str) -> Freeze {
        Freeze::on(by, "2026-11-30T23:00:00Z".parse().unwrap(), &[])
    }

    #[tokio::test]
    async fn a_freeze_is_in_force_until_it_is_ended() {
        let root = tempfile::tempdir().unwrap();
        let (objects, place) = (Directory::new(root.path()), Place::of_shop());
        let freezes = Freezes::new(&objects, &place, "prod");
        assert_eq!(freezes.in_force().await.unwrap(), None);
        freezes.write(&on("ann")).await.unwrap();
        assert_eq!(freezes.in_force().await.unwrap(), Some(on("ann")));
        assert_eq!(Records::new(&objects, &place, "prod").numbers().await.unwrap(), [0; 0], "it is no record");
        freezes.write(&Freeze::off("bob", on("bob").at)).await.unwrap();
        assert_eq!(freezes.in_force().await.unwrap(), None);
        objects.place("shop/environments/prod/deployments/freeze.json", b"{}");
        assert!(freezes.in_force().await.unwrap_err().to_string().contains("cannot tell whether prod is frozen"));
    }

    #[tokio::test]
    async fn a_lost_answer_is_not_a_refusal() {
        let root = tempfile::tempdir().unwrap();
        let (objects, place) = (Directory::with(root.path(), 0, Fault::SentTwice), Place::of_shop());
        let freezes = Freezes::new(&objects, &place, "prod");
        freezes.write(&on("ann")).await.unwrap();
        assert_eq!(freezes.in_force().await.unwrap(), Some(on("ann")));
    }
}
