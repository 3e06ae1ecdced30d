//! What the steps of a plan may find out about each other.

use futures_util::future::{LocalBoxFuture, join_all};

use crate::address::Address;
use crate::failure::Explanation;
use crate::plan::{Plan, PlanNode};
use crate::step::{Context, Leader, Outputs, Progress, Siblings};
use crate::steps::signal::{Moment, Signal};
use crate::text::Text;

impl Siblings for Plan {
    fn outputs<'a>(&'a self, address: &'a Address, cx: &'a Context<'a>) -> LocalBoxFuture<'a, Result<Outputs, Explanation>> {
        Box::pin(async move {
            let missing = || Explanation::new(format!("the step {address} is not in the document"), None);
            let node = self.nodes.iter().find(|node| node.address == *address).ok_or_else(missing)?;
            if let Some(given) = cx.world.known.given(address) {
                return Ok(given);
            }
            let cx = Context { address: &node.address, references: &node.references, holds_secret: node.holds_secret, ..*cx };
            node.step.outputs(&cx).await
        })
    }

    fn listening(&self, kind: &str) -> Vec<(&str, &[u16])> {
        let of_kind = self.listening.iter().filter(|(address, _)| address.kind() == kind);
        of_kind.map(|(address, ports)| (address.key(), ports.as_slice())).collect()
    }

    fn leader(&self, bundle: &Address) -> Option<&Leader> {
        self.leaders.get(bundle)
    }

    fn claims(&self) -> Option<&Text> {
        self.claims.as_ref()
    }

    fn testify<'a>(&'a self, cx: &'a Context<'a>) -> LocalBoxFuture<'a, ()> {
        let evidence = self.nodes.iter().filter_map(|node| Some((node, node.step.any().downcast_ref::<Signal>()?)));
        let written = evidence.filter(|(_, signal)| signal.testifies(true)).map(|(node, signal)| async move {
            let own = Context { address: &node.address, references: &node.references, holds_secret: node.holds_secret, ..*cx };
            if let Err(error) = signal.testify(Moment::Failure, &own).await {
                cx.progress(Progress::Warning(format!("{}: {}", node.address, Explanation::of(&error))));
            }
        });
        let written = join_all(written);
        Box::pin(async move { drop(written.await) })
    }

    fn serving(&self) -> &[Address] {
        &self.serving
    }

    fn evidence(&self, cx: &Context<'_>) -> Vec<String> {
        let prefix = |node: &PlanNode| {
            let prefix = node.step.any().downcast_ref::<Signal>()?.prefix()?;
            let own = Context { address: &node.address, references: &node.references, holds_secret: node.holds_secret, ..*cx };
            own.render(prefix).ok().map(|prefix| prefix.expose().to_owned())
        };
        self.nodes.iter().filter_map(prefix).collect()
    }
}
