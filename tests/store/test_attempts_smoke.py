from jobmon.testing.factory import workflow_make, run_make, attempts_make
from jobmon.server.web import dialect
def test_x(database):
    with database.write() as c:
        now = dialect.utcnow(c)
        w = workflow_make(c, [[], [0]], now=now)
        r = run_make(c, w.workflow_id, now=now)
        print(attempts_make(c, w, r, [0], batch_num=1, now=now))
def test_y(requester):
    from jobmon.serializers.monitor import HealthResponse
    print(requester.send("GET", "/health", None, HealthResponse))
