"""The route of ``jobmon doctor``."""

from __future__ import annotations

from jobmon.serializers.diagnosis import DiagnosisResponse
from jobmon.server.web.store.diagnosis import diagnosis_read
from jobmon.server.web.wire import RequestContext, WireRouter

router = WireRouter("/monitor")


@router.route("GET", "/diagnosis", response=DiagnosisResponse)
def diagnosis(context: RequestContext) -> DiagnosisResponse:
    """What this server and its database are."""
    with context.state.database.read() as connection:
        answer = diagnosis_read(connection)
    answer.user = context.user
    answer.user_role = context.identity.role if context.identity.is_proven else ""
    return answer
