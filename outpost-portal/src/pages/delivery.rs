//! delivery
pub(super) async fn page(cx: &crate::cx::Cx<'_>, _: &str, _: &str) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
pub(super) async fn retry(cx: &crate::cx::Cx<'_>, _: &str, _: &str) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
pub(super) async fn cancel(cx: &crate::cx::Cx<'_>, _: &str, _: &str) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
pub(super) async fn payload(cx: &crate::cx::Cx<'_>, _: &str, _: &str) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
pub(super) async fn response(cx: &crate::cx::Cx<'_>, _: &str, _: &str, _: u32) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
pub(super) async fn curl(cx: &crate::cx::Cx<'_>, _: &str, _: &str, _: u32) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
