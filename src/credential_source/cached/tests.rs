use std::sync::Mutex as StdMutex;
use std::sync::atomic::AtomicUsize;

use futures::future::join_all;

use super::*;
use crate::credentials::Credential;

/// Gives `1`, `2`, … as the user, or what it is told to fail with.
#[derive(Debug, Default)]
struct Counting {
    count: AtomicUsize,
    failure: StdMutex<Option<&'static str>>,
}

impl Provider for Arc<Counting> {
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, Unavailable>> {
        Box::pin(async {
            let count = self.count.fetch_add(1, Ordering::SeqCst) + 1;
            // Whoever else asks gets its turn.
            tokio::task::yield_now().await;
            if let Some(failure) = *self.failure.lock().unwrap() {
                return Err(Unavailable::new(failure));
            }
            let credential = Credential::new(count.to_string(), "p".into(), None, None);
            let keyring = Keyring::of_host("registry.example", credential);
            Ok(Fetched::with_life(keyring, Duration::from_hours(1)))
        })
    }
}

impl Counting {
    fn fail(&self, failure: Option<&'static str>) {
        *self.failure.lock().unwrap() = failure;
    }
}

async fn user(source: &Cached<Arc<Counting>>) -> Result<String, String> {
    let keyring = source
        .current()
        .await
        .map_err(|problem| problem.to_string())?;
    let found = keyring.matching(&"registry.example/a".parse().unwrap());
    Ok(found[0].username.clone())
}

async fn pass(minutes: u64) {
    tokio::time::advance(Duration::from_mins(minutes)).await;
}

#[tokio::test(start_paused = true)]
async fn it_is_fetched_once_however_many_wait_and_renewed_before_it_expires() {
    let provider = Arc::new(Counting::default());
    let source = Cached::new(Arc::clone(&provider));
    let users = join_all((0..20).map(|_| user(&source))).await;
    assert!(users.iter().all(|user| user.as_deref() == Ok("1")));
    pass(29).await;
    assert_eq!(user(&source).await.as_deref(), Ok("1"));
    pass(2).await;
    assert_eq!(user(&source).await.as_deref(), Ok("2"));
    assert_eq!(provider.count.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_used_until_it_expires_and_never_after() {
    let provider = Arc::new(Counting::default());
    let source = Cached::new(Arc::clone(&provider));
    assert_eq!(user(&source).await.as_deref(), Ok("1"));
    provider.fail(Some("the token service is away"));
    pass(31).await;
    assert_eq!(user(&source).await.as_deref(), Ok("1"));
    // It is not asked again at once.
    assert_eq!(user(&source).await.as_deref(), Ok("1"));
    assert_eq!(provider.count.load(Ordering::SeqCst), 2);
    pass(29).await;
    assert_eq!(
        user(&source).await.unwrap_err(),
        "the token service is away"
    );
    provider.fail(None);
    pass(1).await;
    assert_eq!(user(&source).await.as_deref(), Ok("4"));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_renews_it_but_not_in_a_hurry() {
    let provider = Arc::new(Counting::default());
    let source = Cached::new(Arc::clone(&provider));
    assert_eq!(user(&source).await.as_deref(), Ok("1"));
    source.refused();
    assert_eq!(user(&source).await.as_deref(), Ok("1"));
    pass(3).await;
    assert_eq!(user(&source).await.as_deref(), Ok("2"));
    // A refusal counts once.
    pass(3).await;
    assert_eq!(user(&source).await.as_deref(), Ok("2"));
}

#[tokio::test(start_paused = true)]
async fn a_long_round_is_told_of_each_new_credential() {
    let provider = Arc::new(Counting::default());
    let source = Cached::new(Arc::clone(&provider));
    let told = StdMutex::new(Vec::new());
    let follow = super::super::follow(&source, |keyring| {
        let found = keyring.matching(&"registry.example/a".parse().unwrap());
        told.lock().unwrap().push(found[0].username.clone());
    });
    tokio::select! {
        never = follow => match never {},
        () = tokio::time::sleep(Duration::from_mins(65)) => {}
    }
    assert_eq!(*told.lock().unwrap(), ["1", "2", "3"]);
}
