//! The records of an edge's swaps, stored next to deployment records.

use super::objects::{Condition, Object, Objects, Put};
use super::trouble::who_deleted;
use crate::deployment::record::State;
use crate::deployment::swap::Swap;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::place::Place;

/// The swap records of one edge.
#[derive(Debug)]
pub(crate) struct Swaps<'a, O> {
    objects: &'a O,
    place: &'a Place,
    edge: &'a str,
}

/// A record and its ETag in the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptSwap {
    pub(crate) swap: Swap,
    etag: String,
}

/// Result of beginning a swap.
#[derive(Debug)]
pub(crate) enum BegunSwap {
    /// The lock is ours.
    Mine(KeptSwap),
    /// Another operator created the next record first.
    Taken(KeptSwap),
}

impl<'a, O: Objects> Swaps<'a, O> {
    pub(crate) fn new(objects: &'a O, place: &'a Place, edge: &'a str) -> Self {
        Self { objects, place, edge }
    }

    fn beginning(&self) -> String {
        format!("{}edge-{}/deployments/swap-", self.place.environments(), self.edge)
    }

    fn key(&self, number: u64) -> String {
        format!("{}{number}.json", self.beginning())
    }

    /// Returns the newest record.
    pub(crate) async fn newest(&self) -> Result<Option<KeptSwap>, Failure> {
        let beginning = self.beginning();
        let number = |key: &str| {
            let text = key.strip_prefix(&beginning)?.strip_suffix(".json")?;
            text.parse().ok().filter(|number: &u64| *number > 0 && number.to_string() == text)
        };
        match self.objects.list(&beginning).await?.iter().filter_map(|object| number(&object.key)).max() {
            Some(number) => self.read(number).await,
            None => Ok(None),
        }
    }

    /// Returns the swap under way, or the last successful one. Swaps that failed changed nothing.
    pub(crate) async fn newest_effective(&self) -> Result<Option<Swap>, Failure> {
        let mut found = self.newest().await?;
        while let Some(KeptSwap { swap, .. }) = found {
            if matches!(swap.state, State::UnderWay | State::Good) {
                return Ok(Some(swap));
            }
            found = if swap.number > 1 { self.read(swap.number - 1).await? } else { None };
        }
        Ok(None)
    }

    pub(crate) async fn read(&self, number: u64) -> Result<Option<KeptSwap>, Failure> {
        let Some(Object { content, etag }) = self.objects.get(&self.key(number)).await? else { return Ok(None) };
        match Swap::read(&content, self.edge, number) {
            Some(swap) => Ok(Some(KeptSwap { swap, etag })),
            None => Err(Failure::new(Exit::Failed, format!("cannot determine the state of swap {number} of the edge {}", self.edge))
                .why(format!("{} is not in the format of this ingot-fleet", self.place.url(&self.key(number))))
                .hint("update ingot-fleet, or restore the previous version of the object")),
        }
    }

    /// Creates the record of a swap, which keeps others from beginning one.
    pub(crate) async fn begin(&self, swap: Swap) -> Result<BegunSwap, Failure> {
        match self.objects.put(&self.key(swap.number), swap.write(), Condition::Absent).await? {
            Put::Done { etag } => Ok(BegunSwap::Mine(KeptSwap { swap, etag })),
            // An earlier attempt may have succeeded and its answer been lost.
            Put::Refused => match self.read(swap.number).await? {
                Some(kept) if kept.swap.attempt == swap.attempt => Ok(BegunSwap::Mine(kept)),
                Some(kept) => Ok(BegunSwap::Taken(kept)),
                None => Err(self.gone(swap.number)),
            },
        }
    }

    /// Records the outcome of a swap. The first recorded outcome wins.
    pub(crate) async fn end(&self, kept: &KeptSwap, ended: Swap) -> Result<Swap, Failure> {
        let number = ended.number;
        match self.objects.put(&self.key(number), ended.write(), Condition::Unchanged(&kept.etag)).await? {
            Put::Done { .. } => Ok(ended),
            Put::Refused => match self.read(number).await? {
                Some(found) if found.swap.state != State::UnderWay => Ok(found.swap),
                Some(found) => {
                    Err(Failure::new(Exit::Failed, format!("cannot record the outcome of swap {number} of the edge {}", self.edge))
                        .why(found.swap.told())
                        .hint("run the same command again"))
                }
                None => Err(self.gone(number)),
            },
        }
    }

    fn gone(&self, number: u64) -> Failure {
        Failure::new(Exit::Failed, format!("{} is gone", self.place.url(&self.key(number)))).hint(who_deleted(&self.place.bucket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::fake::{Directory, Fault};
    use crate::aws::records::Records;
    use crate::deployment::slot::Slot;

    fn swap(number: u64) -> Swap {
        Swap::begin("main", number, Slot::B, "ann", "2026-11-30T23:00:00Z".parse().unwrap())
    }

    fn good(kept: &KeptSwap) -> Swap {
        kept.swap.end(State::Good, "2026-11-30T23:01:00Z".parse().unwrap(), None)
    }

    #[tokio::test]
    async fn one_of_two_operators_begins() {
        let root = tempfile::tempdir().unwrap();
        let (objects, place) = (Directory::new(root.path()), Place::of_shop());
        let swaps = Swaps::new(&objects, &place, "main");
        assert_eq!(swaps.newest().await.unwrap(), None);
        let BegunSwap::Mine(mine) = swaps.begin(swap(1)).await.unwrap() else { panic!() };
        let BegunSwap::Taken(other) = swaps.begin(swap(1)).await.unwrap() else { panic!() };
        assert_eq!(other, mine);
        assert_eq!(swaps.end(&mine, good(&mine)).await.unwrap().state, State::Good);
        // A later outcome does not replace the first.
        let late = other.swap.end(State::Failed, other.swap.began, Some("x".into()));
        assert_eq!(swaps.end(&other, late).await.unwrap().state, State::Good);
        swaps.begin(swap(10)).await.unwrap();
        assert_eq!(swaps.newest().await.unwrap().unwrap().swap.number, 10, "by number, not by name");
        assert_eq!(Records::new(&objects, &place, "edge-main").numbers().await.unwrap(), [0; 0], "they are no deployments");
    }

    #[tokio::test]
    async fn a_failed_swap_leaves_the_previous_one_in_effect() {
        let root = tempfile::tempdir().unwrap();
        let (objects, place) = (Directory::new(root.path()), Place::of_shop());
        let swaps = Swaps::new(&objects, &place, "main");
        let effective = async || swaps.newest_effective().await.unwrap().map(|swap| (swap.number, swap.state));
        assert_eq!(effective().await, None);
        for (number, state) in [(1, State::Failed), (2, State::Good), (3, State::Undone), (4, State::Failed)] {
            let BegunSwap::Mine(mine) = swaps.begin(swap(number)).await.unwrap() else { panic!() };
            assert_eq!(effective().await, Some((number, State::UnderWay)));
            swaps.end(&mine, mine.swap.end(state, mine.swap.began, None)).await.unwrap();
            assert_eq!(effective().await, if number == 1 { None } else { Some((2, State::Good)) });
        }
    }

    #[tokio::test]
    async fn a_lost_answer_is_not_a_refusal() {
        let root = tempfile::tempdir().unwrap();
        let (objects, place) = (Directory::with(root.path(), 0, Fault::SentTwice), Place::of_shop());
        let swaps = Swaps::new(&objects, &place, "main");
        let BegunSwap::Mine(mine) = swaps.begin(swap(1)).await.unwrap() else { panic!() };
        assert_eq!(swaps.end(&mine, good(&mine)).await.unwrap().state, State::Good);
    }

    #[tokio::test]
    async fn an_unreadable_record_is_reported() {
        let root = tempfile::tempdir().unwrap();
        let (objects, place) = (Directory::new(root.path()), Place::of_shop());
        objects.place("shop/environments/edge-main/deployments/swap-1.json", b"{}");
        let failure = Swaps::new(&objects, &place, "main").newest().await.unwrap_err();
        assert!(failure.to_string().contains("cannot determine the state of swap 1 of the edge main"), "{failure}");
    }
}
