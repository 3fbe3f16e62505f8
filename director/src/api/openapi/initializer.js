// Starts Swagger UI. A request that changes something needs the CSRF token of the browser's session, unless it has a token
// of its own.
'use strict';
window.onload = () => {
  const isSafe = (request) => ['GET', 'HEAD', 'OPTIONS'].includes((request.method || 'GET').toUpperCase());

  const withCsrf = async (request) => {
    if (isSafe(request) || request.headers.Authorization) return request;
    const answer = await fetch('../session', { headers: { accept: 'application/json' } });
    const session = answer.ok ? await answer.json() : {};
    if (session.csrf) request.headers['X-Atq-Csrf'] = session.csrf;
    return request;
  };

  window.ui = SwaggerUIBundle({
    url: '../api-docs/openapi.json',
    dom_id: '#swagger-ui',
    deepLinking: true,
    // The default is a validator on the Internet.
    validatorUrl: 'none',
    requestInterceptor: withCsrf,
    presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
    layout: 'StandaloneLayout',
  });
};
