import org.junit.After
import org.junit.Before
import org.junit.Test

/** Runs the example pipelines. */
class ExamplesTest extends FakeJenkins {
    @Before
    void before() {
        open()
        registerPipeline()
    }

    @After
    void after() {
        close()
    }

    @Test
    void theDeclarativePipeline() {
        runScript('examples/Jenkinsfile.declarative')
        assert arguments() == ['run', 'load/task.json', '--bundle=load/bundle', '--criterion=errors < 1%',
            '--criterion=p95 < 500ms', '--set=worker.replicas=3', '--name=shop-17', '--results=atq-results',
            '--junit=atq-results/junit.xml', '--timeout=45m']
        assert access() == [TOKEN, '/etc/ssl/example-ca.pem']
        assert timeouts == ['2 HOURS']
        assert result == null
    }

    @Test
    void theDeclarativePipelineWithFailedCriteria() {
        endsWith(1)
        runScript('examples/Jenkinsfile.declarative')
        assert result == 'UNSTABLE'
    }

    /** Replaces the library's script by a program that records its arguments. */
    private void scripted() {
        File fake = program('fake')
        helper.registerAllowedMethod('libraryResource', [String]) { String path ->
            assert path == 'atq-load-test.sh'
            fake.text
        }
        runScript('examples/Jenkinsfile.scripted')
    }

    @Test
    void theScriptedPipeline() {
        scripted()
        assert arguments().containsAll(['--bundle=load/bundle.zip', '--env=SHOP_USER=load test',
            '--env=SHOP_PASSWORD=a $ecret "pass" word', '--url=https://director.example.com:8443'])
        assert access() == [TOKEN, "${home}/secret-file".toString()]
        assert messages.contains('shop-17: pass')
        assertJobStatusSuccess()
    }

    @Test
    void theScriptedPipelineWithFailedCriteria() {
        endsWith(1)
        scripted()
        assert binding.getVariable('currentBuild').result == 'UNSTABLE'
    }

    @Test
    void theScriptedPipelineWithoutADirector() {
        endsWith(9)
        try {
            scripted()
            assert false : 'the build did not fail'
        } catch (Exception failed) {
            assert failed.message.contains('no load test today: unreachable')
        }
    }
}
