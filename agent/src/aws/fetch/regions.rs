//! One service in several regions: the instance's own, and those that ARNs name. Each region has its own quotas and
//! permissions, so each gets its own batches.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;

use crate::aws::arn::Arn;
use crate::aws::client::error::AwsError;

/// For each region of a service `S`, the state of type `I`.
pub(super) struct Regions<S: ?Sized, I> {
    home: Rc<I>,
    others: Rc<RefCell<BTreeMap<String, Rc<I>>>>,
    make: fn(Rc<S>) -> I,
}

impl<S: ?Sized, I> Clone for Regions<S, I> {
    fn clone(&self) -> Self {
        Self { home: self.home.clone(), others: self.others.clone(), make: self.make }
    }
}

impl<S: ?Sized, I> Regions<S, I> {
    pub(super) fn new(service: Rc<S>, make: fn(Rc<S>) -> I) -> Self {
        Self { home: Rc::new(make(service)), others: Rc::default(), make }
    }

    pub(super) fn home(&self) -> Rc<I> {
        self.home.clone()
    }

    /// Calls `act` with the state of every region.
    pub(super) fn each(&self, act: impl Fn(&I)) {
        act(&self.home);
        self.others.borrow().values().for_each(|other| act(other));
    }

    /// The state for the region of `name`: the instance's own region unless `name` is an ARN. `elsewhere` connects to
    /// the service in another region, or returns `None` if the region is the current one.
    pub(super) async fn of<F>(&self, name: &str, elsewhere: impl FnOnce(Rc<I>, String) -> F) -> Result<Rc<I>, AwsError>
    where
        F: Future<Output = Result<Option<Rc<S>>, AwsError>>,
    {
        let Some(Arn { region, .. }) = Arn::parse(name) else { return Ok(self.home()) };
        if let Some(known) = self.others.borrow().get(region) {
            return Ok(known.clone());
        }
        let made = elsewhere(self.home(), region.to_owned()).await?;
        let mut others = self.others.borrow_mut();
        // Another caller may have added the region in the meantime.
        let there =
            others.entry(region.to_owned()).or_insert_with(|| made.map_or_else(|| self.home(), |service| Rc::new((self.make)(service))));
        Ok(there.clone())
    }
}
