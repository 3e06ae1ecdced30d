//! Queue and database.
//!
//! Databases of Elastic Beanstalk:
//! <https://docs.aws.amazon.com/elasticbeanstalk/latest/dg/using-features.managing.db.html>

use ingot::desk::Value;

use super::super::draft::map;
use super::{Carry, boolean, seconds, string, whole};
use crate::fleet::Tier;

const SQSD: &str = "aws:elasticbeanstalk:sqsd";
const RDS: &str = "aws:rds:dbinstance";

/// Longest visibility timeout and retention period of SQS, in seconds.
const LONGEST_HIDDEN: u64 = 12 * 60 * 60;
const LONGEST_KEPT: u64 = 14 * 24 * 60 * 60;

/// RDS engines that an environment may use.
const ENGINES: [&str; 3] = ["postgres", "mysql", "mariadb"];

impl Carry {
    pub(super) fn queue(&mut self) {
        if self.tier != Tier::Worker {
            return;
        }
        // A queue that Elastic Beanstalk created is not taken over: the stack creates one with its dead-letter queue.
        if let Some(url) = self.options.take(SQSD, "WorkerQueueURL") {
            self.leave(&url, "to keep this queue, write its URL in `queue.url`; otherwise the stack creates a new one");
        }
        let advice = "write 1s to 12h in `queue.visibility`";
        self.take((SQSD, "VisibilityTimeout"), "queue.visibility", |text| seconds(text, 1, LONGEST_HIDDEN), advice);
        let advice = "write 1m to 14d in `queue.retention`";
        self.take((SQSD, "RetentionPeriod"), "queue.retention", |text| seconds(text, 60, LONGEST_KEPT), advice);
        self.take((SQSD, "MaxRetries"), "queue.retries", |text| whole(text, 1, 1000), "write 1 to 1000 in `queue.retries`");
    }

    pub(super) fn database(&mut self) {
        if !self.options.has(RDS) {
            return;
        }
        // Every saved configuration contains this option, even without a database.
        let is_coupled = self.options.take(RDS, "HasCoupledDatabase").is_none_or(|coupled| boolean(&coupled.value) != Some(false));
        if !is_coupled {
            return drop(self.options.take_all(RDS));
        }
        // Elastic Beanstalk's defaults, which differ from those of fleet.yaml; the database name is always `ebdb`.
        for (name, path, value) in [("DBEngine", "database.engine", "mysql"), ("DBUser", "database.user", "ebroot")] {
            if !self.options.has_option(RDS, name) {
                self.draft.set(path, string(value));
            }
        }
        self.draft.set("database.name", string("ebdb"));
        let advice = "choose postgres, mysql or mariadb, or leave the database to the boot document";
        self.take((RDS, "DBEngine"), "database.engine", |text| ENGINES.contains(&text).then(|| string(text)), advice);
        let advice = "write the class in `database.class`";
        self.take((RDS, "DBInstanceClass"), "database.class", |text| text.starts_with("db.").then(|| string(text)), advice);
        let snapshot = |text: &str| Some(map([("snapshot", string(text))]).value);
        self.take((RDS, "DBSnapshotIdentifier"), "database.restore_from", snapshot, "name the snapshot in `database.restore_from`");
        let advice = "write 20 to 65536 in `database.storage_gib`";
        self.take((RDS, "DBAllocatedStorage"), "database.storage_gib", |text| whole(text, 20, 65536), advice);
        self.take((RDS, "DBUser"), "database.user", |text| Some(string(text)), "write the master user in `database.user`");
        let is_true = |text: &str| boolean(text).map(|is| Value::Bool(is, if is { "true" } else { "false" }));
        self.take((RDS, "MultiAZDatabase"), "database.multi_az", is_true, "write true or false in `database.multi_az`");
        let advice = "the existing database stays in Elastic Beanstalk's stack: decouple it, take a snapshot, and name the snapshot in `restore_from`";
        self.notes.push(advice.into());
    }
}
