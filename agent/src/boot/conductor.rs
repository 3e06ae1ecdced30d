//! One boot from end to end: its stages, its steps, and the steps that outlast it.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join;

use crate::boot::audience::{Audience, Ending};
use crate::boot::ground::Ground;
use crate::boot::identify::Identified;
use crate::boot::request::Request;
use crate::boot::state::Boot;
use crate::boot::stop::{Asked, Stop, stopped, stopped_by};
use crate::execute::{Execution, Halt, testify};
use crate::failure::Explanation;
use crate::plan::Plan;
use crate::step::Phase;

/// How often ingot checks whether an instance of a warm pool is to go into service.
///
/// Source: <https://docs.aws.amazon.com/autoscaling/ec2/userguide/retrieving-target-lifecycle-state-through-imds.html>.
const LOOK_EVERY: Duration = Duration::from_secs(5);

const IN_SERVICE: &str = "InService";

/// Boots the machine that `ground` returns; `ground` is called once for each phase of the document.
/// Returns when every step has ended, including those that outlast the boot. `asked` completes with
/// the name of a signal that asks the boot to end.
pub(crate) async fn boot(
    request: Request,
    ground: impl Fn() -> Ground,
    audience: Rc<dyn Audience>,
    asked: impl Future<Output = &'static str>,
) -> Ending {
    let (request, mut asked) = (Rc::new(request), pin!(asked));
    loop {
        let boot = Boot::begin(request.clone(), ground(), audience.clone()).await;
        if let Next::End(ending) = boot.run(asked.as_mut()).await {
            return ending;
        }
    }
}

/// What follows a boot.
enum Next {
    End(Ending),
    /// A second boot, for the whole document: this one was the warm phase, and the instance now goes into service.
    Serve,
}

impl Boot {
    async fn run(&self, mut asked: Asked<'_>) -> Next {
        let plan = match self.reach_in_time(asked.as_mut()).await {
            Ok(plan) => plan,
            Err(stop) => return Next::End(self.ended(stop, asked).await),
        };
        let mut execution = self.execution(&plan);
        let was_asked = Cell::new(false);
        let stop = async {
            let halt = self.halted(asked.as_mut()).await;
            was_asked.set(matches!(halt, Halt::Asked(_)));
            halt
        };
        let ending = self.carry_out(&mut execution, stop).await;
        match ending {
            // A signal that ended the last steps also ends the process. It does not arrive a second time.
            ending if was_asked.get() => Next::End(ending),
            Ending::Done => join(self.go_on(execution, asked), self.testify(&plan)).await.0,
            ending => {
                self.testify(&plan).await;
                Next::End(ending)
            }
        }
    }

    async fn reach_in_time(&self, asked: Asked<'_>) -> Result<Plan, Stop> {
        let halt = tokio::select! {
            biased;
            reached = self.reach() => return reached,
            halt = self.halted(asked) => halt,
        };
        Err(match halt {
            Halt::Deadline(why) => Stop::Failed(self.stopped(why)),
            Halt::Asked(why) => Stop::Asked(self.stopped(why)),
        })
    }

    /// As [`stopped`]. The hint differs for a requested release: the next boot does not resume it,
    /// but runs the release in force.
    async fn halted(&self, asked: Asked<'_>) -> Halt {
        match (stopped(self.request.deadline, self.clock(), asked).await, &self.request.release) {
            (Halt::Asked(why), Some(asked)) => Halt::Asked(Explanation { hint: Some(asked.wanted.again()), ..why }),
            (halt, _) => halt,
        }
    }

    /// Runs the stages before the first step.
    pub(crate) async fn reach(&self) -> Result<Plan, Stop> {
        let Identified { record, earlier } = self.identify().await?;
        let (layers, mut identity) = self.read_layers(earlier).await?;
        let (plan, phase) = self.compile(layers, &mut identity).await?;
        self.remember(&plan, phase, identity, record).await?;
        Ok(plan)
    }

    /// Prepares to run the steps of a plan.
    pub(crate) fn execution<'a>(&'a self, plan: &'a Plan) -> Execution<'a> {
        Execution::new(plan, self.world(), &self.recorder)
    }

    /// Runs the steps to the end of the boot, or until `stop` ends it, and completes the report.
    pub(crate) async fn carry_out<'a>(&'a self, execution: &mut Execution<'a>, stop: impl Future<Output = Halt>) -> Ending {
        self.keep_release_with(execution);
        execution.boot(async { stop.await.map(|why| self.stopped_steps(why)) }).await;
        if self.request.release.is_some() {
            // No later boot resumes a requested release, so this one goes back to the release before it.
            execution.go_back().await;
        }
        self.release_ended().await;
        self.close().await
    }

    /// Writes the evidence of the whole boot, if the document asks for it.
    pub(crate) async fn testify(&self, plan: &Plan) {
        testify(plan, self.world(), &self.recorder, &*self.ground.lock).await;
    }

    /// Runs the steps that outlast the boot until they have ended, or until `stop` ends them.
    pub(crate) async fn beside(&self, execution: &mut Execution<'_>, stop: impl Future<Output = Explanation>) {
        execution.beside(stop, &*self.ground.lock).await;
    }

    /// Runs what follows a successful boot.
    async fn go_on(&self, mut execution: Execution<'_>, asked: Asked<'_>) -> Next {
        if self.request.release.is_some() {
            // The caller waits for the exit code. Steps that outlast a boot, and the warm pool, are
            // left to the process that systemd runs.
            execution.leave_beside(&*self.ground.lock).await;
            return Next::End(Ending::Done);
        }
        if self.world().phase == Phase::Serve || !self.request.is_whole() {
            self.beside(&mut execution, async { stopped_by(asked.await) }).await;
            return Next::End(Ending::Done);
        }
        log::info!("waiting for this instance to go into service");
        let mut later = pin!(async {
            tokio::select! {
                biased;
                signal = asked => (Next::End(Ending::Done), stopped_by(signal)),
                () = self.goes_into_service() => (Next::Serve, Explanation::new("the instance goes into service", None)),
            }
        });
        let mut next = None;
        let stop = async {
            let (after, why) = later.as_mut().await;
            next = Some(after);
            why
        };
        self.beside(&mut execution, stop).await;
        match next {
            Some(next) => next,
            None => later.await.0,
        }
    }

    /// Completes when Auto Scaling wants this instance to serve.
    async fn goes_into_service(&self) {
        loop {
            self.clock().sleep(LOOK_EVERY).await;
            match self.cloud().metadata().target_lifecycle_state().await {
                Ok(Some(state)) if state == IN_SERVICE => return,
                Ok(_) => {}
                Err(error) => log::warn!("cannot tell whether this instance is in service: {}", Explanation::of(&error)),
            }
        }
    }
}
