# Logs in to the cloud, the state and the cluster, as far as the environment says how. For the steps that run Pulumi.
#   OIDC_TOKEN         the job's identity (GitLab, Jenkins; on GitHub the clouds' own actions have logged in), for
#                      AWS_ROLE_ARN, GCP_PROVIDER with GCP_SERVICE_ACCOUNT, AZURE_CLIENT_ID with AZURE_TENANT_ID, or PULUMI_ORGANIZATION
#   CLUSTER            eks/REGION/NAME, gke/PROJECT/LOCATION/NAME or aks/GROUP/NAME: the cloud's CLI writes the kubeconfig,
#                      whose context has the stack's name
#   KUBECONFIG_DATA    the kubeconfig itself, instead. KUBECONFIG, a path, is taken as it is
#   IMAGE_REGISTRY     the host to log in to, with IMAGE_REGISTRY_USERNAME and IMAGE_REGISTRY_PASSWORD or the cloud's CLI
# shellcheck shell=bash

identify() {
    local file=$WORK/oidc-token
    printf %s "$OIDC_TOKEN" >"$file"
    if [ -n "${AWS_ROLE_ARN:-}" ]; then
        # Not AWS_WEB_IDENTITY_TOKEN_FILE: the token ends after minutes, the session lasts as long as the role allows.
        read -r AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN < <(aws sts assume-role-with-web-identity \
            --role-arn "$AWS_ROLE_ARN" --role-session-name "ci-$1" --web-identity-token "file://$file" --output text \
            --duration-seconds "${AWS_SESSION_SECONDS:-3600}" \
            --query 'Credentials.[AccessKeyId,SecretAccessKey,SessionToken]')
        require AWS_SESSION_TOKEN
        export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN
    fi
    if [ -n "${GCP_PROVIDER:-}" ]; then
        require GCP_SERVICE_ACCOUNT
        export GOOGLE_APPLICATION_CREDENTIALS=$WORK/google.json
        gcloud iam workload-identity-pools create-cred-config "$GCP_PROVIDER" --service-account "$GCP_SERVICE_ACCOUNT" \
            --credential-source-file "$file" --output-file "$GOOGLE_APPLICATION_CREDENTIALS"
        gcloud auth login --quiet --cred-file "$GOOGLE_APPLICATION_CREDENTIALS"
    fi
    if [ -n "${AZURE_CLIENT_ID:-}" ]; then
        require AZURE_TENANT_ID
        az login --output none --service-principal --username "$AZURE_CLIENT_ID" --tenant "$AZURE_TENANT_ID" \
            --federated-token "$OIDC_TOKEN"
    fi
    if [ -n "${PULUMI_ORGANIZATION:-}" ]; then
        pulumi login --oidc-token "file://$file" --oidc-org "$PULUMI_ORGANIZATION" "${PULUMI_BACKEND_URL:-https://api.pulumi.com}"
    fi
}

find_cluster() {
    local kind one two three
    IFS=/ read -r kind one two three <<<"${CLUSTER:-}"
    export KUBECONFIG=$WORK/kubeconfig
    case $kind in
    eks) aws eks update-kubeconfig --region "$one" --name "$two" --alias "$1" ;;
    gke)
        gcloud container clusters get-credentials "$three" --project "$one" --location "$two"
        kubectl config rename-context "gke_${one}_${two}_$three" "$1"
        ;;
    aks)
        az aks get-credentials --resource-group "$one" --name "$two" --context "$1" --overwrite-existing
        kubelogin convert-kubeconfig -l azurecli
        ;;
    *) fail "CLUSTER is '$CLUSTER', must be eks/REGION/NAME, gke/PROJECT/LOCATION/NAME or aks/GROUP/NAME" ;;
    esac
}

log_in_to_registry() {
    local host=${IMAGE_REGISTRY%%/*} region
    case $host in
    *.dkr.ecr.*)
        region=${host#*.dkr.ecr.}
        aws ecr get-login-password --region "${region%%.*}" | docker login --username AWS --password-stdin "$host"
        ;;
    *-docker.pkg.dev) gcloud auth configure-docker --quiet "$host" ;;
    *.azurecr.io) az acr login --name "${host%%.*}" ;;
    *)
        require IMAGE_REGISTRY_USERNAME IMAGE_REGISTRY_PASSWORD
        docker login --username "$IMAGE_REGISTRY_USERNAME" --password-stdin "$host" <<<"$IMAGE_REGISTRY_PASSWORD"
        ;;
    esac
}

login() { # STACK
    if [ -n "${LOGGED_IN:-}" ]; then return; fi
    export LOGGED_IN=yes # for the steps that this one calls
    if [ -n "${OIDC_TOKEN:-}" ]; then identify "$1"; fi
    if [ -n "${KUBECONFIG_DATA:-}" ]; then
        export KUBECONFIG=$WORK/kubeconfig
        printf '%s\n' "$KUBECONFIG_DATA" >"$KUBECONFIG"
    elif [ -n "${CLUSTER:-}" ]; then
        find_cluster "$1"
    fi
    if [ -n "${IMAGE_REGISTRY:-}" ]; then log_in_to_registry; fi
    [ -n "${PULUMI_BACKEND_URL:-}${PULUMI_ACCESS_TOKEN:-}${PULUMI_ORGANIZATION:-}" ] ||
        fail "PULUMI_BACKEND_URL is not set, nor PULUMI_ACCESS_TOKEN"
}
