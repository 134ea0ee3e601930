use tokio::time::{advance, sleep};

use super::*;

const EVERY: Duration = Duration::from_secs(30);

/// What a resolver answers, and how often it was asked.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<Answers>>);

#[derive(Default)]
struct Answers {
    addresses: Vec<IpAddr>,
    asked: usize,
    takes: Duration,
}

impl Names {
    fn resolver(&self) -> Resolver {
        let names = self.0.clone();
        Resolver::new("svc.test", EVERY, move |name| {
            assert_eq!(name, "svc.test");
            let mut names = names.lock();
            names.asked += 1;
            let (found, takes) = (names.addresses.clone(), names.takes);
            Box::pin(async move {
                sleep(takes).await;
                Ok(found)
            })
        })
    }

    fn set(&self, addresses: &[IpAddr]) {
        self.0.lock().addresses = addresses.to_vec();
    }

    fn take(&self, takes: Duration) {
        self.0.lock().takes = takes;
    }

    fn asked(&self) -> usize {
        self.0.lock().asked
    }
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

/// Names with the first address, and a resolver that knows it.
async fn knowing() -> (Names, Resolver) {
    let names = Names::default();
    names.set(&[ip(1)]);
    let resolver = names.resolver();
    assert!(!resolver.is_used() && resolver.has(ip(9)));
    assert_eq!(resolver.addresses().await.expect("an address"), [ip(1)]);
    assert!(resolver.is_used() && resolver.has(ip(1)) && !resolver.has(ip(9)));
    (names, resolver)
}

#[tokio::test(start_paused = true)]
async fn addresses_hold_for_a_while_and_are_then_looked_up() {
    let (names, resolver) = knowing().await;
    names.set(&[ip(2), ip(3)]);
    advance(EVERY - Duration::from_millis(1)).await;
    assert_eq!(resolver.addresses().await.expect("an address"), [ip(1)]);
    assert_eq!(names.asked(), 1);
    advance(Duration::from_millis(1)).await;
    assert_eq!(resolver.addresses().await.expect("addresses"), [ip(2), ip(3)]);
    assert!(!resolver.has(ip(1)) && resolver.has(ip(3)));
    assert_eq!(names.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn requests_over_open_connections_have_the_name_looked_up_too() {
    let (names, resolver) = knowing().await;
    names.set(&[ip(2)]);
    resolver.refresh(Instant::now());
    advance(EVERY).await;
    assert_eq!((names.asked(), resolver.has(ip(2))), (1, false));
    resolver.refresh(Instant::now());
    resolver.refresh(Instant::now());
    sleep(Duration::from_millis(1)).await;
    assert_eq!((names.asked(), resolver.has(ip(2)), resolver.has(ip(1))), (2, true, false));
}

#[tokio::test(start_paused = true)]
async fn a_failed_connection_has_it_looked_up_but_not_all_the_time() {
    let (names, resolver) = knowing().await;
    names.set(&[ip(2)]);
    advance(PAUSE).await;
    resolver.doubt();
    assert!(resolver.differs(&[ip(1)]).await);
    assert!(!resolver.differs(&[ip(2)]).await);
    for _ in 0..10 {
        resolver.doubt();
        assert_eq!(resolver.addresses().await.expect("an address"), [ip(2)]);
    }
    assert_eq!(names.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_slow_lookup_is_one_and_what_is_known_is_used_meanwhile() {
    let (names, resolver) = knowing().await;
    names.set(&[ip(2)]);
    names.take(Duration::from_secs(600));
    advance(EVERY).await;
    let began = Instant::now();
    for _ in 0..100 {
        assert_eq!(resolver.addresses().await.expect("an address"), [ip(1)]);
    }
    assert!(began.elapsed() < GRACE * 2, "only the first one waits");
    assert_eq!(names.asked(), 2);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(resolver.known(), Some(vec![ip(2)]));
}

#[tokio::test(start_paused = true)]
async fn all_wait_for_the_first_lookup_and_it_may_fail() {
    let names = Names::default();
    names.take(Duration::from_secs(3));
    let resolver = names.resolver();
    let (one, other) = tokio::join!(resolver.addresses(), resolver.addresses());
    assert!(one.is_err() && other.is_err() && !resolver.is_used());
    assert_eq!(names.asked(), 1);
    names.set(&[ip(1)]);
    assert_eq!(resolver.addresses().await.expect("an address"), [ip(1)]);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_gone_keeps_its_addresses() {
    let (names, resolver) = knowing().await;
    names.set(&[]);
    advance(EVERY).await;
    assert_eq!(resolver.addresses().await.expect("an address"), [ip(1)]);
    assert_eq!(resolver.addresses().await.expect("an address"), [ip(1)]);
    assert_eq!(names.asked(), 2);
}
