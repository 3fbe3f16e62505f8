import java.nio.file.Files
import java.security.MessageDigest

import org.junit.After
import org.junit.Before
import org.junit.Test

/** Tests of the step in a build. */
class AtqLoadTestTest extends FakeJenkins {
    @Before
    void before() {
        open()
    }

    @After
    void after() {
        close()
    }

    String failure(Map parameters) {
        try {
            step(parameters)
        } catch (BuildFailed failed) {
            return failed.message
        }
        throw new AssertionError('the build did not fail')
    }

    @Test
    void aPassedTest() {
        Map outcome = step(task: 'load.json', bundle: 'tests/', criteria: ['p95 < 500ms', 'errors = 0'],
            set: ['worker.replicas': 5], env: [A: 'b'], timeout: '30m', url: 'http://a:1', replace: true, follow: true)
        assert outcome == [exitCode: 0, verdict: 'pass', name: 'shop-17']
        assert arguments() == ['run', 'load.json', '--bundle=tests/', '--criterion=p95 < 500ms', '--criterion=errors = 0',
            '--set=worker.replicas=5', '--env=A=b', '--name=shop-17', '--results=atq-results',
            '--junit=atq-results/junit.xml', '--timeout=30m', '--url=http://a:1', '--replace', '--follow']
        assert result == null
        assert commands() == ['run']
    }

    @Test
    void outputsArePublished() {
        step(task: 'load.json', results: 'out/load/')
        assert published*.get(0) == ['junit', 'archive', 'html']
        assert published[0][1] == [testResults: 'out/load/junit.xml', allowEmptyResults: true, skipMarkingBuildUnstable: false]
        assert published[1][1].artifacts == 'out/load/**'
        assert published[2][1].reportDir == 'out/load'
    }

    @Test
    void htmlPublisherIsOptional() {
        withHtmlPublisher { throw new NoSuchMethodError("No such DSL method 'publishHTML' found among steps") }
        assert step(task: 'load.json').exitCode == 0
        assert published*.get(0) == ['junit', 'archive']
        assert messages.any { it.contains('HTML Publisher') }
    }

    @Test
    void failedCriteriaMakeTheBuildUnstable() {
        endsWith(1)
        assert step(task: 'load.json').verdict == 'fail'
        assert result == 'UNSTABLE'
        assert messages == ['load test shop-17: a criterion of the test does not hold (exit code 1)']
        assert commands() == ['run']
    }

    @Test
    void everyOtherCodeFailsTheBuildWithAMessage() {
        Map meanings = [2: 'the command line', 3: 'the test tool failed', 4: 'could not be run', 5: 'exceeded a time limit', 6: 'was stopped',
            7: 'is inconclusive', 8: 'the Director rejected', 9: 'the Director does not respond', 10: 'access denied']
        meanings.each { int code, String meaning ->
            published.clear()
            endsWith(code)
            String message = failure(task: 'load.json')
            assert message.startsWith('load test shop-17: ')
            assert message.contains(meaning) && message.endsWith("(exit code ${code})")
            assert published*.get(0).containsAll(['junit', 'archive'])
        }
        assert result == null
        assert commands().unique() == ['run']
    }

    @Test
    void aScriptMayEvaluateTheOutcomeItself() {
        for (int code : 0..10) {
            endsWith(code)
            assert step(task: 'load.json', failBuild: false).exitCode == code
        }
        assert result == null
        assert published.find { it[0] == 'junit' }[1].skipMarkingBuildUnstable
    }

    @Test
    void anAbortStopsTheTask() {
        abort = true
        try {
            step(task: 'load.json', url: 'http://a:1')
            assert false : 'the abort was swallowed'
        } catch (Aborted expected) {
            assert new File(home, 'stopped').readLines() == ['stop', 'shop-17', '--url=http://a:1']
        }
        assert timeouts == ['1 MINUTES']
        assert published == []
    }

    @Test
    void aFailedStopDoesNotHideTheAbort() {
        helper.registerAllowedMethod('sh', [Map]) { Map call ->
            if (call.label.startsWith('stop')) {
                throw new IOException('the agent is lost')
            }
            throw new Aborted()
        }
        try {
            step(task: 'load.json')
            assert false : 'the abort was swallowed'
        } catch (Aborted expected) {
            assert messages == ['atqLoadTest: the task shop-17 may still run: the agent is lost']
        }
    }

    @Test
    void theTaskOfAKilledProgramIsStopped() {
        program('atq', 'kill -KILL $$')
        assert failure(task: 'load.json').contains('was killed or crashed')
        assert commands() == ['run', 'stop']
    }

    @Test
    void valuesArePassedUnchanged() {
        environments.last().putAll([KNOWN: 'wrong', PASSWORD: 'p"a\'s$KNOWN `id` $(id) \\ *'])
        List<String> values = ['two words', "it's", 'say "hi"', '$KNOWN ${KNOWN} $$ $', '`id` $(id)', 'a\\b\\n', '*', '-x', 'ü€',
            'two\nlines', '; exit 7', '']
        for (String value : values) {
            step(task: 'the task.json', bundle: value, criteria: [value], set: ['a.b': value], env: [A: value],
                envFrom: 'PASSWORD')
            List<String> arguments = arguments()
            for (String expected : ["--bundle=$value", "--criterion=$value", "--set=a.b=$value", "--env=A=$value"]) {
                assert arguments.contains(expected.toString())
            }
            assert arguments[1] == 'the task.json'
            assert arguments.contains('--env=PASSWORD=p"a\'s$KNOWN `id` $(id) \\ *')
        }
    }

    @Test
    void noSecretIsInAScriptOrInItsTrace() {
        environments.last().PASSWORD = 'hunter2'
        step(task: 'load.json', envFrom: ['PASSWORD'], env: [TOKEN: 'hunter3'])
        assert arguments().containsAll(['--env=PASSWORD=hunter2', '--env=TOKEN=hunter3'])
        assert !scripts.join().contains('hunter')
        assert output().contains('set +x') && !output().contains('hunter')
    }

    @Test
    void theTokenIsInTheEnvironmentAndNeitherInAScriptNorInTheLog() {
        step(task: 'load.json', credentialsId: 'atq-token', ca: '/etc/ssl/a $b.pem')
        assert access() == [TOKEN, '/etc/ssl/a $b.pem']
        assert !scripts.join().contains(SECRET) && !arguments().join().contains(SECRET)
        assert output().contains('set +x') && !output().contains(SECRET)
        assert !messages.join().contains(SECRET)
    }

    @Test
    void withoutACredentialTheBuildHasNoToken() {
        step(task: 'load.json')
        assert access() == ['', '']
    }

    @Test
    void anAbortedBuildStopsItsTaskWithTheToken() {
        program('atq', 'kill -KILL $$')
        new File(home, 'bin/atq').text = new File(home, 'bin/atq').text.replace('/stopped', "/stopped'; echo \"\$ATQ_TOKEN\" >'${home}/stop-token")
        assert failure(task: 'load.json', credentialsId: 'atq-token').contains('was killed or crashed')
        assert new File(home, 'stop-token').text.trim() == TOKEN
    }

    @Test
    void theScriptOfTheLibraryDoesNotShowTheToken() {
        new File(workspace, 'load.json').text = '{"name": "small", "master": {}, "worker": {}}'
        failure(task: 'load.json', client: 'curl', url: 'http://127.0.0.1:1', credentialsId: 'atq-token')
        assert output().contains('does not respond') && !output().contains(SECRET)
        credentials['atq-token'] = 'hunter2'
        failure(task: 'load.json', client: 'curl', url: 'http://127.0.0.1:1', credentialsId: 'atq-token')
        assert output().contains('does not contain a token') && !output().contains('hunter2')
    }

    @Test
    void deniedAccessFailsTheBuild() {
        endsWith(10)
        assert step(task: 'load.json', failBuild: false).verdict == 'accessDenied'
        assert failure(task: 'load.json').contains('access denied')
    }

    @Test
    void aMissingVariableIsNamed() {
        assert failure(task: 'load.json', envFrom: ['PASSWORD']).contains('exit code 2')
        assert output().contains('the build has no variable PASSWORD')
        assert commands() == []
    }

    @Test
    void faultsAreReportedBeforeAnythingIsRun() {
        String message = failure(taks: 'load.json', client: 3)
        assert message.startsWith('atqLoadTest: unknown parameter `taks`; known parameters: task, ')
        assert message.contains('; `client` is `3`; expected text')
        assert scripts == [] && published == []
    }

    @Test
    void aMissingProgramIsReported() {
        assert failure(task: 'load.json', atq: '/no/such/atq').contains('exit code 2')
        assert output().contains('this agent has no program `/no/such/atq`')
    }

    @Test
    void outputsOfAnEarlierBuildAreNotPublished() {
        File old = written('atq-results/master.1/old.txt', 'old')
        written('atq-results/.atq-files', "${sha256('old')}  master.1/old.txt\n")
        step(task: 'load.json')
        assert !old.exists()
    }

    @Test
    void foreignFilesAreNotRemoved() {
        File own = written('tests/plan.jmx', 'plan')
        File changed = written('tests/samples.jtl', 'changed')
        File outside = written('outside.txt', 'old')
        File linked = written('elsewhere/linked.txt', 'old')
        Files.createSymbolicLink(new File(workspace, 'tests/link').toPath(), linked.parentFile.toPath())
        String list = ['samples.jtl', '../outside.txt', outside.path, 'link/linked.txt'].collect { String name ->
            "${sha256('old')}  ${name}\n"
        }.join()
        written('tests/.atq-files', list)
        step(task: 'load.json', results: 'tests')
        assert own.text == 'plan' && changed.text == 'changed' && outside.text == 'old' && linked.text == 'old'
    }

    private File written(String path, String text) {
        File file = new File(workspace, path)
        file.parentFile.mkdirs()
        file.text = text
        return file
    }

    private static String sha256(String text) {
        return MessageDigest.getInstance('SHA-256').digest(text.bytes).encodeHex().toString()
    }

    @Test
    void theScriptOfTheLibraryReplacesAtq() {
        String message = failure(task: 'load.json', client: 'curl', url: 'http://127.0.0.1:1')
        assert message.contains('a file that it names, cannot be used')
        assert output().contains('the definition `load.json` cannot be read')
        new File(workspace, 'load.json').text = '{"master": {}, "worker": {}}'
        assert failure(task: 'load.json', client: 'curl', url: 'http://127.0.0.1:1').contains('the Director does not respond')
        assert commands() == []
    }
}
