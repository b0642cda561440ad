//! What members let others see of their work.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use refrain_sequencer::observe::{Observer, Replicated, Written};
use refrain_wire::NodeId;

use super::hosts::{Cluster, simulated};

/// Keeps what it is told.
#[derive(Default)]
struct Notes {
    written: Mutex<Vec<Written>>,
    replicated: Mutex<Vec<Replicated>>,
}

impl Observer for Notes {
    fn written(&self, written: &Written) {
        self.written.lock().push(*written);
    }

    fn replicated(&self, replicated: &Replicated) {
        self.replicated.lock().push(*replicated);
    }
}

#[test]
fn every_entry_is_told_when_it_is_written_and_when_others_have_it() {
    let notes: BTreeMap<u64, Arc<Notes>> = [1, 2, 3].map(|node| (node, Arc::default())).into();
    simulated(async {
        let observers = notes.iter().map(|(node, notes)| (*node, Arc::clone(notes) as Arc<dyn Observer>)).collect();
        let mut cluster = Cluster::default();
        cluster.observers = observers;
        let mut cluster = cluster.begin(&[1, 2, 3]).await;
        cluster.append_many(20).await;
        cluster.agree(&[1, 2, 3]).await;
        let leader = cluster.leader().await;
        assert!(cluster.log(leader).elections() >= 1 && cluster.log(leader).voters() == 3);
        for (position, _) in &cluster.acknowledged {
            for (node, notes) in &notes {
                let written = notes.written.lock();
                let writes = written.iter().filter(|write| (write.first..=write.last).contains(&position.0));
                let times: Vec<_> = writes.map(|write| (write.began, write.written, write.synced)).collect();
                let [(began, done, Some(synced))] = times[..] else { panic!("{position} on {node}: {times:?}") };
                assert!(began <= done && done <= synced);
            }
            let replicated = notes[&leader].replicated.lock();
            let has = |node| {
                let answers = replicated.iter().filter(|answer| answer.node == NodeId(node));
                answers.filter(|answer| (answer.first..=answer.last).contains(&position.0)).count()
            };
            let others: Vec<usize> = [1, 2, 3].into_iter().filter(|node| *node != leader).map(has).collect();
            assert!(others.iter().all(|count| *count >= 1), "{position}: {others:?}");
        }
        let followers = notes.iter().filter(|(node, _)| **node != leader);
        followers.for_each(|(node, notes)| assert_eq!(*notes.replicated.lock(), [], "{node} leads nobody"));
    });
}
