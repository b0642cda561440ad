//! Several members of one log: elections, partitions, slow disks, lost disks, changes of members.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join;
use parking_lot::Mutex;
use refrain_sequencer::flush::{Exec, Wake};
use refrain_sequencer::log::{AppendError, OrderedLog};
use refrain_sequencer::raft::{BeginError, Bootstrap, MemberError};
use refrain_wire::limits::MAX_STATE_BYTES;
use refrain_wire::stream::{Hello, HelloAnswer, Role};
use refrain_wire::{ClusterId, Generation, NodeId, Position};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[path = "cluster/hosts.rs"]
mod hosts;
#[path = "cluster/net.rs"]
mod net;
#[path = "cluster/observed.rs"]
mod observed;

use hosts::{CLUSTER, Cluster, TIMES, address, draft, in_time, initial, simulated};

#[test]
fn three_members_begin_together_and_deliver_the_same() {
    simulated(async {
        let mut cluster = Cluster::of(&[1, 2, 3]).await;
        assert_eq!(cluster.leader().await, 1, "who begins the log leads it first");
        cluster.append_many(50).await;
        cluster.agree(&[1, 2, 3]).await;
        let generations: Vec<_> = cluster.hosts.values().map(|host| host.log.generation()).collect();
        assert!(generations.iter().all(|generation| *generation == generations[0]));
        assert_eq!(cluster.voters(3), [1, 2, 3]);
        assert_eq!(cluster.log(2).stats().leader, Some(NodeId(1)));
        let error = cluster.log(2).append(draft(0)).await.unwrap_err();
        assert!(matches!(error, AppendError::NotLeader { leader: Some(NodeId(1)) }), "{error}");
    });
}

#[test]
fn a_dead_leader_is_replaced_and_nothing_acknowledged_is_lost() {
    simulated(async {
        let mut cluster = Cluster::of(&[1, 2, 3]).await;
        for round in 0..6 {
            cluster.append_many(10).await;
            let leader = cluster.leader().await;
            let term = cluster.log(leader).leading().unwrap();
            let pending = cluster.log(leader);
            let pending = tokio::spawn(async move { pending.append(draft(999)).await });
            tokio::task::yield_now().await;
            cluster.kill(leader);
            pending.abort();
            cluster.disks[&leader].crash(round);
            let next = cluster.leader().await;
            assert_ne!(next, leader);
            assert!(cluster.log(next).leading().unwrap() > term);
            cluster.append_many(10).await;
            cluster.start(leader, initial(&[1, 2, 3])).await.unwrap();
            cluster.log(leader).begin().await.unwrap();
            cluster.append().await;
            cluster.agree(&[1, 2, 3]).await;
        }
    });
}

#[test]
fn a_leader_without_a_majority_refuses_in_bounded_time_and_the_others_go_on() {
    simulated(async {
        let mut cluster = Cluster::of(&[1, 2, 3]).await;
        cluster.append_many(5).await;
        let old = cluster.leader().await;
        let log = cluster.log(old);
        cluster.network.isolate(&address(old));
        let lost = in_time("an append without a majority", log.append(draft(1000))).await.unwrap_err();
        assert!(matches!(lost, AppendError::Unknown | AppendError::NoQuorum), "{lost}");
        let started = tokio::time::Instant::now();
        let refused = log.append(draft(1001)).await.unwrap_err();
        assert!(matches!(refused, AppendError::NoQuorum), "{refused}");
        assert!(started.elapsed() < TIMES.timeout);
        assert_eq!(log.leading(), None);
        assert!(!refused.is_fatal());
        let isolated = cluster.hosts.remove(&old).unwrap();
        assert_ne!(cluster.leader().await, old);
        cluster.append_many(5).await;
        cluster.hosts.insert(old, isolated);
        cluster.network.heal(&address(old));
        cluster.append_many(5).await;
        cluster.agree(&[1, 2, 3]).await;
    });
}

#[test]
fn a_follower_that_was_cut_off_does_not_depose_the_leader_when_it_comes_back() {
    simulated(async {
        let mut cluster = Cluster::of(&[1, 2, 3]).await;
        let leader = cluster.leader().await;
        let term = cluster.log(leader).leading();
        cluster.network.isolate(&address(3));
        tokio::time::sleep(TIMES.timeout * 20).await;
        cluster.append_many(5).await;
        cluster.network.heal(&address(3));
        cluster.agree(&[1, 2, 3]).await;
        assert_eq!(cluster.log(leader).leading(), term);
    });
}

type Worker = Box<dyn FnMut() + Send>;

/// A flush worker that can be held.
#[derive(Clone, Default)]
struct Brake(Arc<Mutex<(bool, Option<Worker>)>>);

impl Brake {
    fn hold(&self, held: bool) {
        self.0.lock().0 = held;
        self.wake();
    }
}

impl Exec for Brake {
    fn start(&self, _name: &str, worker: Worker) -> std::io::Result<Arc<dyn Wake>> {
        self.0.lock().1 = Some(worker);
        Ok(Arc::new(self.clone()))
    }
}

impl Wake for Brake {
    fn wake(&self) {
        // A wake from a callback of the worker itself finds it taken; the worker looks again before it returns.
        let Some((false, worker)) = self.0.try_lock().map(|mut inner| (inner.0, inner.1.take())) else { return };
        let Some(mut worker) = worker else { return };
        worker();
        self.0.lock().1 = Some(worker);
    }

    fn stop(&self) {
        self.wake();
    }
}

#[test]
fn a_slow_sync_of_the_leader_does_not_depose_it() {
    simulated(async {
        let mut cluster = Cluster::default();
        let brake = Brake::default();
        let options = cluster.options(1, initial(&[1, 2, 3]));
        cluster.start_with(1, options, &brake).await.unwrap();
        for node in [2, 3] {
            cluster.start(node, initial(&[1, 2, 3])).await.unwrap();
        }
        in_time("the beginning", cluster.log(1).begin()).await.unwrap();
        assert_eq!(cluster.leader().await, 1);
        cluster.append_many(5).await;
        let term = cluster.log(1).leading();
        brake.hold(true);
        let log = cluster.log(1);
        let slow = tokio::spawn(async move { log.append(draft(77)).await });
        tokio::time::sleep(TIMES.timeout * 10).await;
        assert_eq!(cluster.log(1).leading(), term, "a majority answers, whatever the leader's own disk does");
        assert!(!slow.is_finished() || slow.await.unwrap().is_ok());
        brake.hold(false);
        cluster.append_many(5).await;
        cluster.agree(&[1, 2, 3]).await;
        assert_eq!(cluster.log(1).leading(), term);
    });
}

#[test]
fn all_members_restart_after_a_loss_of_power() {
    simulated(async {
        let mut cluster = Cluster::of(&[1, 2, 3]).await;
        for round in 0..5 {
            cluster.append_many(30).await;
            for node in [1, 2, 3] {
                cluster.kill(node);
                cluster.disks[&node].crash(round * 3 + node);
            }
            for node in [1, 2, 3] {
                cluster.start(node, initial(&[1, 2, 3])).await.unwrap();
            }
            cluster.append().await;
            cluster.agree(&[1, 2, 3]).await;
        }
    });
}

#[test]
fn a_log_of_one_grows_to_three_moves_and_loses_its_first_machine() {
    simulated(async {
        let mut cluster = Cluster::default();
        cluster.start(1, Bootstrap::Alone).await.unwrap();
        cluster.append_many(40).await;
        for node in [2, 3] {
            cluster.start(node, Bootstrap::Join).await.unwrap();
            let log = cluster.log(1);
            let added = async { in_time("adding", log.add_member(NodeId(node), &address(node))).await.unwrap() };
            let load = async {
                for number in 0..30 {
                    cluster.log(1).append(draft(5000 + number)).await.unwrap();
                }
            };
            join(added, load).await;
            cluster.log(node).begin().await.unwrap();
        }
        assert_eq!(cluster.voters(1), [1, 2, 3]);
        cluster.agree(&[1, 2, 3]).await;
        let log = cluster.log(1);
        in_time("the transfer", log.transfer_leader(NodeId(2))).await.unwrap();
        assert_eq!(cluster.leader().await, 2);
        cluster.append_many(5).await;
        cluster.kill(1);
        cluster.append_many(5).await;
        in_time("removing", cluster.log(2).remove_member(NodeId(1))).await.unwrap();
        assert_eq!(cluster.voters(2), [2, 3]);
        for node in [2, 3] {
            cluster.kill(node);
            cluster.disks[&node].crash(node);
            cluster.start(node, Bootstrap::Join).await.unwrap();
        }
        cluster.append_many(5).await;
        cluster.agree(&[2, 3]).await;
        assert_eq!(cluster.voters(3), [2, 3], "members survive restarts");
    });
}

#[test]
fn three_members_shrink_to_one_and_that_one_leads_alone_after_a_restart() {
    simulated(async {
        let mut cluster = Cluster::of(&[1, 2, 3]).await;
        cluster.append_many(5).await;
        for node in [1, 2] {
            let leader = cluster.leader().await;
            in_time("removing", cluster.log(leader).remove_member(NodeId(node))).await.unwrap();
            in_time("the end of its office", async {
                let mut leadership = cluster.log(node).leadership();
                leadership.wait_for(|leadership| !leadership.leading).await.unwrap();
            })
            .await;
            cluster.kill(node);
        }
        cluster.append_many(5).await;
        let error = cluster.log(3).remove_member(NodeId(3)).await.unwrap_err();
        assert!(matches!(error, MemberError::Last { .. }), "{error}");
        cluster.kill(3);
        cluster.start(3, Bootstrap::Join).await.unwrap();
        assert!(cluster.log(3).leading().is_some(), "a member that votes alone has taken office when it is open");
        cluster.append().await;
        cluster.agree(&[3]).await;
    });
}

#[test]
fn a_member_that_was_removed_learns_of_it_and_the_others_do_not() {
    simulated(async {
        for (removed, others) in [(1, [2, 3]), (3, [2, 1])] {
            let mut cluster = Cluster::of(&[1, 2, 3]).await;
            cluster.append_many(5).await;
            let leader = cluster.leader().await;
            in_time("removing", cluster.log(leader).remove_member(NodeId(removed))).await.unwrap();
            let told = in_time("to be told", cluster.log(removed).until_removed()).await;
            assert_eq!((told.node, told.generation), (NodeId(removed), cluster.log(2).generation()));
            cluster.append_many(5).await;
            cluster.agree(&others).await;
            cluster.kill(removed);
            cluster.kill(others[1]);
            // Nobody answers the one that is left, which is no reason to think so.
            tokio::time::timeout(TIMES.timeout * 40, cluster.log(2).until_removed()).await.unwrap_err();
            cluster.start(others[1], Bootstrap::Join).await.unwrap();
            cluster.append_many(5).await;
            // One that was away when others could tell is told when it comes back.
            cluster.start(removed, Bootstrap::Join).await.unwrap();
            in_time("to be told again", cluster.log(removed).until_removed()).await;
        }
    });
}

#[test]
fn a_member_that_is_taken_in_again_reads_of_its_removal_and_stays() {
    simulated(async {
        let mut cluster = Cluster::of(&[1, 2, 3]).await;
        cluster.append_many(5).await;
        let leader = cluster.log(cluster.leader().await);
        in_time("removing", leader.remove_member(NodeId(3))).await.unwrap();
        in_time("adding", leader.add_member(NodeId(3), &address(3))).await.unwrap();
        let kept = cluster.log(3);
        let (stays, ()) = join(tokio::time::timeout(TIMES.timeout * 20, kept.until_removed()), async {
            for _ in 0..10 {
                cluster.append_many(3).await;
                tokio::time::sleep(TIMES.timeout).await;
            }
        })
        .await;
        stays.unwrap_err();
        cluster.agree(&[1, 2, 3]).await;
    });
}

#[test]
fn the_lead_goes_round_under_load_and_nothing_is_lost() {
    simulated(async {
        let mut cluster = Cluster::of(&[1, 2, 3]).await;
        for round in 0..9 {
            let leader = cluster.leader().await;
            let to = NodeId(leader % 3 + 1);
            let log = cluster.log(leader);
            let transfer = async { in_time("the transfer", log.transfer_leader(to)).await };
            let (moved, ()) = join(transfer, cluster.append_many(10)).await;
            moved.unwrap_or_else(|error| panic!("round {round}: {error}"));
        }
        cluster.agree(&[1, 2, 3]).await;
        let leader = cluster.leader().await;
        let error = cluster.log(leader).transfer_leader(NodeId(9)).await.unwrap_err();
        assert_eq!(error.to_string(), "node 9 is no member of the log");
        let follower = leader % 3 + 1;
        let error = cluster.log(follower).transfer_leader(NodeId(follower)).await.unwrap_err();
        assert!(matches!(error, MemberError::Append(AppendError::NotLeader { .. })), "{error}");
    });
}

#[test]
fn a_member_that_cannot_be_reached_gets_no_vote_and_the_log_goes_on() {
    simulated(async {
        let mut cluster = Cluster::of(&[1, 2, 3]).await;
        let log = cluster.log(cluster.leader().await);
        let error = in_time("adding nobody", log.add_member(NodeId(4), &address(4))).await.unwrap_err();
        assert!(matches!(error, MemberError::NoProgress { .. }), "{error}");
        cluster.append().await;
        assert_eq!(cluster.voters(1), [1, 2, 3]);
        log.remove_member(NodeId(4)).await.unwrap();
        assert_eq!(log.members().len(), 3);
        let error = log.add_member(NodeId(2), "elsewhere").await.unwrap_err();
        assert_eq!(error.to_string(), "node 2 is a member already, at node-2");
        log.add_member(NodeId(2), &address(2)).await.unwrap();
    });
}

#[test]
fn a_member_that_lost_its_disk_is_refused_and_comes_back_under_a_new_number() {
    simulated(async {
        for members in [initial(&[1, 2, 3]), Bootstrap::Join] {
            for lost in [1, 3] {
                let mut cluster = Cluster::of(&[1, 2, 3]).await;
                cluster.append_many(10).await;
                cluster.kill(lost);
                cluster.disks.remove(&lost);
                cluster.leader().await;
                cluster.start(lost, members.clone()).await.unwrap();
                let error = in_time("the refusal", cluster.log(lost).begin()).await.unwrap_err();
                let named = error.to_string().contains("a member that lost its disk needs a new id");
                assert!(named, "{members:?} {lost}: {error}");
                assert!(matches!(error, BeginError::LostDisk { .. } | BeginError::Refused { .. }));
                assert_eq!(cluster.hosts[&lost].delivered.lock().len(), 0);
                cluster.kill(lost);
                cluster.start(4, Bootstrap::Join).await.unwrap();
                let leader = cluster.log(cluster.leader().await);
                in_time("adding", leader.add_member(NodeId(4), &address(4))).await.unwrap();
                leader.remove_member(NodeId(lost)).await.unwrap();
                cluster.append().await;
                cluster.agree(&[2, 4]).await;
            }
        }
    });
}

async fn until_cut(cluster: &Cluster, node: u64, position: Position) {
    in_time("the entries to go", async {
        while cluster.log(node).first() <= position {
            tokio::time::sleep(TIMES.heartbeat).await;
        }
    })
    .await;
}

/// Three members, of which the third is down while the others cut their logs at a position, behind which it is.
async fn cut_while_3_is_away(state: &Bytes) -> (Cluster, Position) {
    let mut cluster = Cluster::of(&[1, 2, 3]).await;
    cluster.append_many(20).await;
    cluster.agree(&[1, 2, 3]).await;
    cluster.kill(3);
    cluster.append_many(200).await;
    cluster.agree(&[1, 2]).await;
    let at = cluster.acknowledged[150].0;
    for node in [1, 2] {
        cluster.log(node).cut(at, state.clone()).await.unwrap();
        until_cut(&cluster, node, at).await;
    }
    (cluster, at)
}

#[test]
fn a_member_behind_the_cut_gets_the_state_in_pieces_and_goes_on_from_there() {
    simulated(async {
        // More than two pieces.
        let state = Bytes::from(vec![6; 2_500_000]);
        let (mut cluster, at) = cut_while_3_is_away(&state).await;
        cluster.append_many(5).await;
        cluster.start(3, initial(&[1, 2, 3])).await.unwrap();
        cluster.append_many(5).await;
        cluster.agree(&[1, 2, 3]).await;
        assert_eq!(*cluster.hosts[&3].restored.lock(), Some((at, state.clone())));
        assert_eq!(cluster.voters(3), [1, 2, 3]);
        cluster.kill(3);
        cluster.disks[&3].crash(5);
        cluster.start(3, initial(&[1, 2, 3])).await.unwrap();
        assert_eq!(*cluster.hosts[&3].restored.lock(), Some((at, state)), "the snapshot is on its disk");
        cluster.append().await;
        cluster.agree(&[1, 2, 3]).await;
    });
}

#[test]
fn a_state_at_the_limit_is_cut_and_given_and_a_larger_one_is_refused() {
    simulated(async {
        let largest = Bytes::from(vec![6; MAX_STATE_BYTES]);
        let (mut cluster, at) = cut_while_3_is_away(&largest).await;
        cluster.start(3, initial(&[1, 2, 3])).await.unwrap();
        cluster.append_many(5).await;
        cluster.agree(&[1, 2, 3]).await;
        assert!(*cluster.hosts[&3].restored.lock() == Some((at, largest)));
        let (last, first) = (cluster.acknowledged[180].0, cluster.log(1).first());
        let error = cluster.log(1).cut(last, Bytes::from(vec![6; MAX_STATE_BYTES + 1])).await.unwrap_err();
        let told = "the shard's state has 67108865 bytes, the limit is 67108864: entries are kept instead";
        assert_eq!(error.to_string(), told);
        assert_eq!(cluster.log(1).first(), first, "nothing was given up");
        cluster.append().await;
        cluster.agree(&[1, 2, 3]).await;
    });
}

#[test]
fn a_member_behind_the_cut_with_a_full_disk_refuses_the_state_until_there_is_space() {
    simulated(async {
        let state = Bytes::from(vec![6; 500_000]);
        let (mut cluster, at) = cut_while_3_is_away(&state).await;
        cluster.start(3, initial(&[1, 2, 3])).await.unwrap();
        let disk = cluster.disks[&3].clone();
        disk.set_capacity(Some(disk.used() + 100_000));
        cluster.append_many(20).await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(*cluster.hosts[&3].restored.lock(), None);
        disk.set_capacity(None);
        cluster.append_many(5).await;
        cluster.agree(&[1, 2, 3]).await;
        assert_eq!(*cluster.hosts[&3].restored.lock(), Some((at, state)));
    });
}

#[test]
fn a_new_member_of_a_cut_log_gets_its_vote_and_can_lead() {
    simulated(async {
        let mut cluster = Cluster::default();
        cluster.start(1, Bootstrap::Alone).await.unwrap();
        cluster.append_many(100).await;
        let at = cluster.acknowledged[90].0;
        cluster.log(1).cut(at, Bytes::from_static(b"state")).await.unwrap();
        until_cut(&cluster, 1, at).await;
        cluster.start(2, Bootstrap::Join).await.unwrap();
        in_time("adding", cluster.log(1).add_member(NodeId(2), &address(2))).await.unwrap();
        cluster.append_many(5).await;
        cluster.agree(&[1, 2]).await;
        in_time("the transfer", cluster.log(1).transfer_leader(NodeId(2))).await.unwrap();
        cluster.append_many(5).await;
        for node in [1, 2] {
            cluster.kill(node);
            cluster.disks[&node].crash(node);
            cluster.start(node, Bootstrap::Join).await.unwrap();
        }
        cluster.append_many(5).await;
        cluster.agree(&[1, 2]).await;
    });
}

async fn say(cluster: &Cluster, hello: Hello) -> HelloAnswer {
    let mut stream = cluster.network.dial(&address(2)).await.unwrap();
    let mut bytes = Vec::new();
    hello.encode(&mut bytes);
    stream.write_all(&bytes).await.unwrap();
    let mut buffer = bytes::BytesMut::new();
    loop {
        if let Some(answer) = HelloAnswer::decode(&mut buffer).unwrap() {
            return answer;
        }
        assert_ne!(stream.read_buf(&mut buffer).await.unwrap(), 0, "an answer comes");
    }
}

#[test]
fn streams_of_another_cluster_history_or_role_are_refused_in_words() {
    simulated(async {
        let cluster = Cluster::of(&[1, 2, 3]).await;
        let generation = cluster.log(1).generation();
        let hello = |role, cluster, generation, node| Hello::new(role, cluster, generation, NodeId(node));
        let cases = [
            (hello(Role::Raft, ClusterId([8; 16]), generation, 1), "this is the cluster 0707"),
            (hello(Role::Raft, CLUSTER, Generation([1; 16]), 1), "this log has the history"),
            (hello(Role::Votes, CLUSTER, generation, 1), "the role Votes is not served here"),
            (hello(Role::Raft, CLUSTER, generation, 2), "node 2 is this one"),
        ];
        for (hello, words) in cases {
            let HelloAnswer::Refused { reason, .. } = say(&cluster, hello).await else { panic!("welcomed: {words}") };
            assert!(reason.starts_with(words), "{reason}");
        }
        let answer = say(&cluster, hello(Role::Raft, CLUSTER, generation, 1)).await;
        assert_eq!(answer, HelloAnswer::Welcome { node: NodeId(2), generation });
    });
}

#[test]
fn garbage_on_the_port_touches_nothing_else() {
    simulated(async {
        let mut cluster = Cluster::of(&[1, 2, 3]).await;
        let term = cluster.log(1).leading();
        let mut hello = Vec::new();
        Hello::new(Role::Raft, CLUSTER, cluster.log(1).generation(), NodeId(9)).encode(&mut hello);
        for garbage in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0; 5000], [&hello[..], &[255; 100]].concat()] {
            let mut stream = cluster.network.dial(&address(2)).await.unwrap();
            stream.write_all(&garbage).await.unwrap();
            let mut answer = Vec::new();
            in_time("the end of the stream", stream.read_to_end(&mut answer)).await.unwrap();
        }
        // Half a hello, and nothing more: it is given up in time.
        let mut stream = cluster.network.dial(&address(2)).await.unwrap();
        stream.write_all(&hello[..10]).await.unwrap();
        in_time("the end of a silent stream", stream.read_to_end(&mut Vec::new())).await.unwrap();
        cluster.append_many(5).await;
        cluster.agree(&[1, 2, 3]).await;
        assert_eq!(cluster.log(1).leading(), term);
    });
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        simulated(async {
            let start = tokio::time::Instant::now();
            let mut cluster = Cluster::of(&[1, 2, 3]).await;
            let mut trace = Vec::new();
            for _ in 0..4 {
                cluster.append_many(3).await;
                let leader = cluster.leader().await;
                cluster.kill(leader);
                let next = cluster.leader().await;
                trace.push((next, cluster.log(next).leading(), start.elapsed()));
                cluster.start(leader, initial(&[1, 2, 3])).await.unwrap();
            }
            cluster.append().await;
            cluster.agree(&[1, 2, 3]).await;
            let delivered = cluster.hosts[&1].delivered.lock().clone();
            (trace, delivered)
        })
    };
    assert_eq!(run(), run());
}
